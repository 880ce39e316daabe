//! See the library.

fn main() -> std::process::ExitCode {
    ruko_core::end_at_panic();
    ruko_fetch::main(std::env::args_os())
}
