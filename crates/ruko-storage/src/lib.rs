//! Storage URLs: get and put of objects.
