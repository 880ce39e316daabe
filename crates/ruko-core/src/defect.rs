//! What ends when a program turns out to be wrong: when it panics.
//!
//! A program that does one thing ends as a whole ([`end_at_panic`]), so that who started it sees it and nothing goes on
//! half done. In a server only the call ends that met the defect, since the others have no part in it. But a server that
//! goes on without a task that it lives by would be worse than one that is started again ([`Vital`]).

/// From now on a panic in any thread ends this process by SIGABRT, after the usual message.
pub fn end_at_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::abort();
    }));
}

/// Held by a task or a thread that a server lives by: a panic of it ends the process by SIGABRT.
#[derive(Debug)]
pub struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};
    use std::thread;

    use super::*;

    const CASE: &str = "OPENRUKO_TEST_DEFECT";

    /// How this test ends when it is run again for a case.
    fn ended(case: &str) -> ExitStatus {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "defect::tests::a_defect_ends_the_program_or_what_met_it"]).env(CASE, case);
        again.output().unwrap().status
    }

    fn meet(case: &str) {
        if case == "program" {
            end_at_panic();
        }
        let _vital = (case == "vital").then_some(Vital);
        panic!("a defect");
    }

    #[test]
    fn a_defect_ends_the_program_or_what_met_it() {
        if let Ok(case) = std::env::var(CASE) {
            let _ = thread::spawn(move || meet(&case)).join();
            return;
        }
        assert_eq!(ended("program").signal(), Some(6));
        assert_eq!(ended("vital").signal(), Some(6));
        assert!(ended("call").success());
    }
}
