//! The `runbell` command.

/// A server makes and drops many small objects; the system's allocator takes a tenth of its CPU time for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    runbell_cli::main()
}
