"""Pictures that explain: the only place of the package that draws."""
