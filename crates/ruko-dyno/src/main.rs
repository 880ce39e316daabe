//! `ruko-dyno`: see the library.

fn main() -> std::process::ExitCode {
    ruko_dyno::main()
}
