//! `ruko-dyno`: see the library.

fn main() -> std::process::ExitCode {
    ruko_core::end_at_panic();
    ruko_dyno::main()
}
