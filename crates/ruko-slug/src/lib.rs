//! Builds an app inside its container: buildpack, slug, repository snapshot.
