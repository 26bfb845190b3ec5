"""Training, evaluation, and what a run leaves in its folder.

| file             | what it holds                                                         |
|------------------|-----------------------------------------------------------------------|
| loop.py          | one step: batch, forward, loss, backward, update                      |
| divergence.py    | where a training left the range of numbers, and why                   |
| run.py           | a run in its folder: start, train, validate, stop, resume             |
| settings.py      | how a run trains                                                      |
| optimisers.py    | SGD and Adam                                                          |
| schedules.py     | the learning rate as a function of the step                           |
| batches.py       | which samples a step sees                                             |
| samples.py       | the samples of a split: cached, summed up                             |
| task.py          | the classes and images a network was trained for                      |
| metrics.py       | the confusion matrix and the four metrics of the FCN paper            |
| baselines.py     | predictors without a network                                          |
| transfer.py      | an FCN that begins as a trained classifier                            |
| evaluation.py    | a network on a split, beside the baselines                            |
| checkpoints.py   | a run between two steps, in a file                                    |
| log.py           | one JSON line per step                                                |
| ranks.py         | several processes that train one network                              |
| interruption.py  | Ctrl-C as a request                                                   |
"""
