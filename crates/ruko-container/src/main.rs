//! `ruko-container`: see the library.

fn main() -> std::process::ExitCode {
    ruko_core::end_at_panic();
    ruko_container::main(std::env::args_os())
}
