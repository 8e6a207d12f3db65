from .flare_history import ACTIVITY, HISTORY, describe_history
from .keyword_features import COURSE, LAST, describe_course, describe_last, find_floors
from .keyword_tables import EXTENSIVE, KEYWORDS, KeywordTable, read_keyword_table, take_header_keywords
from .sample_inputs import FEATURE_NAMES, GROUP_DESCRIPTIONS, InputGroup, SampleInputs, gather_inputs

__all__ = [
    "ACTIVITY",
    "COURSE",
    "EXTENSIVE",
    "FEATURE_NAMES",
    "GROUP_DESCRIPTIONS",
    "HISTORY",
    "KEYWORDS",
    "LAST",
    "InputGroup",
    "KeywordTable",
    "SampleInputs",
    "describe_course",
    "describe_history",
    "describe_last",
    "find_floors",
    "gather_inputs",
    "read_keyword_table",
    "take_header_keywords",
]
