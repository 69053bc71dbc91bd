"""Compare recurrent cells: networks with equally many parameters, trained alike on one text, and exported.

settings     the options of `edgernn compare`; importing this module does not import torch
plan         what is compared, and how; plans can be compared with those of an earlier call
sizes        the size of the state with which a cell has a given number of parameters
results      what was measured so far, and the file that keeps it
comparison   trainings, exports and measurements, each of which is done once
report       the rows of a comparison, as a table and as a picture
"""
