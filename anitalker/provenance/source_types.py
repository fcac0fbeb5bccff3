"""The digital source types of the IPTC that jobs have: how a picture or a video came to be."""

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CREATED = f"{_VOCABULARY}trainedAlgorithmicMedia"  # a generative model made it
EDITED = f"{_VOCABULARY}compositeWithTrainedAlgorithmicMedia"  # it was filmed, and a generative model changed it
