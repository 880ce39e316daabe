//! What every program of openruko shares: names that cannot be wrong, exit statuses, the one way a
//! failure is printed, how lines look to an app developer, and the configuration file.
//!
//! No I/O beyond reading the configuration file.

pub mod config;
pub mod container;
mod defect;
pub mod dyno;
pub mod email;
pub mod exit;
mod hex;
pub mod message;
pub mod names;
pub mod stack;

pub use defect::{Vital, end_at_panic};
pub use email::{BadEmailAddress, EmailAddress};
pub use exit::{Exit, Fault, Hint, report};
pub use hex::hex;
pub use names::{
    AppName, BadName, CommitId, ConfigVarName, ContainerName, ImageName, ProcessType, PushId, StackName,
    TemplateName, UserName,
};
