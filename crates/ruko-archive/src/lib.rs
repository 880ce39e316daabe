//! Packs and unpacks tar.gz: limits, kinds, beneath a directory, deterministic.
