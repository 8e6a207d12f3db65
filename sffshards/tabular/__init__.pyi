from .flare_history import ACTIVITY, HISTORY, describe_history
from .input_groups import InputGroup, NetworkInputs
from .keyword_features import COURSE, LAST, describe_course, describe_last, find_floors
from .keyword_tables import EXTENSIVE, KEYWORDS, KeywordTable, read_keyword_table, take_header_keywords
from .network_numbers import MAX_DEVIATION, NO_SOURCES, NumberScale, NumberSources, fit_scale
from .sample_inputs import FEATURE_NAMES, GROUP_DESCRIPTIONS, SampleInputs, gather_inputs

__all__ = [
    "ACTIVITY",
    "COURSE",
    "EXTENSIVE",
    "FEATURE_NAMES",
    "GROUP_DESCRIPTIONS",
    "HISTORY",
    "KEYWORDS",
    "LAST",
    "MAX_DEVIATION",
    "NO_SOURCES",
    "InputGroup",
    "KeywordTable",
    "NetworkInputs",
    "NumberScale",
    "NumberSources",
    "SampleInputs",
    "describe_course",
    "describe_history",
    "describe_last",
    "find_floors",
    "fit_scale",
    "gather_inputs",
    "read_keyword_table",
    "take_header_keywords",
]
