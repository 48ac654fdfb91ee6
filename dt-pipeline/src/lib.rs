//! From extractor to sinker.
