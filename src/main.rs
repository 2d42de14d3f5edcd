//! The `andon` command.

fn main() -> std::process::ExitCode {
    andon::cli::main()
}
