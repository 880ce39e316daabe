//! get, put and extract objects from storage.
