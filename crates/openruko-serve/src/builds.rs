//! The runner: takes up builds of tarballs, each in a process of its own, so that one that crashes takes no
//! other with it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ruko_api_types::{Push, TakeBuild};
use ruko_core::exit::chain;
use ruko_core::{Fault, Hint};

use crate::context::Context;
use crate::{janitor, terminal};

/// How long one question for a build waits at the API, in seconds.
const ASK_SECONDS: u64 = 25;

/// The pause after the API could not be asked: it may be starting again.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes up builds for ever, so many at a time at most. Beside that, what is not kept in storage is deleted.
pub(crate) fn run(context: &Context, at_a_time: usize) -> Result<std::convert::Infallible, Fault> {
    thread::scope(|scope| {
        scope.spawn(|| match janitor::run(context) {});
        take_builds(context, at_a_time)
    })
}

fn take_builds(context: &Context, at_a_time: usize) -> Result<std::convert::Infallible, Fault> {
    let running = Arc::new(Running::default());
    let mut is_away = false;
    terminal::say_as_service("waiting for builds");
    loop {
        running.wait_for_less_than(at_a_time);
        match context.api.take_build(&TakeBuild { wait_seconds: ASK_SECONDS }) {
            Ok(push) => {
                is_away = false;
                if let Some(push) = push {
                    begin(&context.config_path, &push, &running);
                }
            }
            Err(why) => {
                if !is_away {
                    terminal::say_as_service(&format!(
                        "cannot ask for builds, and tries again: {}",
                        chain(&why)
                    ));
                }
                is_away = true;
                thread::sleep(PAUSE);
            }
        }
    }
}

/// A build that cannot be started has the lease until it runs out; then it has failed.
fn begin(config: &Path, push: &Push, running: &Arc<Running>) {
    running.one_more();
    let (push, config, running) = (push.clone(), config.to_owned(), running.clone());
    thread::spawn(move || {
        if let Err(fault) = carry_out(&config, &push) {
            terminal::say_as_service(&format!("build {} of {}: {}", push.push, push.app.name, fault.message));
        }
        running.one_less();
    });
}

/// Waits for the end of the process that carries it out. How the build ended is in its record.
fn carry_out(config: &Path, push: &Push) -> Result<(), Fault> {
    let failed = "cannot start it";
    let mut child = Command::new(std::env::current_exe().fault(failed)?)
        .arg("--config")
        .arg(config)
        .arg("build")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .current_dir("/")
        .spawn()
        .fault(failed)?;
    let told = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(&serde_json::to_vec(push)?),
        None => Ok(()),
    };
    let ended = child.wait().fault("cannot wait for its end")?;
    told.fault(failed)?;
    match ended.code() {
        Some(_) => Ok(()),
        None => Err(Fault::refused(format!("its process ended with {ended}"))),
    }
}

/// How many builds run.
#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Running {
    fn wait_for_less_than(&self, most: usize) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.fewer.wait_while(count, |count| *count >= most));
    }

    fn one_more(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn one_less(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.fewer.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_is_full_waits_until_a_build_has_ended() {
        let running = Arc::new(Running::default());
        running.wait_for_less_than(1);
        running.one_more();
        let waiting = thread::spawn({
            let running = running.clone();
            move || running.wait_for_less_than(1)
        });
        assert!(!waiting.is_finished());
        running.one_less();
        waiting.join().unwrap();
    }
}
