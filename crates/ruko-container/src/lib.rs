//! Runs unprivileged LXC containers for builds, as root, for a hostile caller.
