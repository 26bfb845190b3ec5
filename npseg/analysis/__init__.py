"""What a network costs and what it sees: parameters, multiply-accumulates, memory, receptive fields, coordinates."""

from npseg.analysis import formulas, measured
from npseg.analysis.conventions import CONVENTIONS, Convention
from npseg.analysis.crops import INPUT_RANGE, explain_crops, least_padding
from npseg.analysis.receptive_fields import ReceptiveField, receptive_fields
from npseg.analysis.summary import LayerSummary, Summary, summary
from npseg.analysis.tables import as_csv, as_dict, as_json, markdown, text

__all__ = [
    "CONVENTIONS",
    "INPUT_RANGE",
    "Convention",
    "LayerSummary",
    "ReceptiveField",
    "Summary",
    "as_csv",
    "as_dict",
    "as_json",
    "explain_crops",
    "formulas",
    "least_padding",
    "markdown",
    "measured",
    "receptive_fields",
    "summary",
    "text",
]
