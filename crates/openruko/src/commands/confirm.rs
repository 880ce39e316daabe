//! Asking before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

use ruko_core::{Fault, Hint};

use super::Error;
use super::output::Screen;

/// Has the user type `name`, unless `given` on the command line.
pub(super) fn confirm(screen: &Screen, what: &str, name: &str, given: Option<&str>) -> Result<(), Error> {
    if given.is_none() && !io::stdin().is_terminal() {
        return Err(Fault::refused(format!("{what}: nobody is there to confirm it"))
            .hint(format!("--confirm {name} does so"))
            .into());
    }
    let typed = match given {
        Some(given) => given.to_owned(),
        None => {
            screen.remark(format!("WARNING: {what}."));
            answer(&format!("To proceed, type {name}: "))?
        }
    };
    match typed == name {
        true => Ok(()),
        false => {
            Err(Fault::refused(format!("`{}` is not {name}, nothing was changed", typed.escape_debug()))
                .into())
        }
    }
}

/// A line that the user types.
pub(super) fn answer(question: &str) -> Result<String, Error> {
    let _ = write!(io::stderr(), "{question}");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).fault("cannot read the answer")?;
    Ok(line.trim().to_owned())
}
