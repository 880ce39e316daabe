//! Config vars: one flat object.

use std::collections::BTreeMap;

/// `GET /apps/{app}/config-vars`: all of them, in the order of their names.
pub type ConfigVars = BTreeMap<String, String>;

/// `PATCH /apps/{app}/config-vars`: sets values and, with `null`, removes variables. What is not named stays.
pub type ConfigChanges = BTreeMap<String, Option<String>>;
