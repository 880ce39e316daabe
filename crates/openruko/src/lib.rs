//! up: the whole platform in the foreground; admin: users, keys, apps.
