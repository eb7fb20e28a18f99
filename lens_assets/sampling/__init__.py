"""Selection, confuser classes, strata and stratified sampling."""
