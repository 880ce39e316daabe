//! LXC configuration writer, template call and lifecycle.
