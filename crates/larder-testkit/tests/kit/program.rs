use larder_testkit::{Program, assert_eventually_blocking};
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(5);

fn shell(output: &Path, script: &str) -> Program {
    Program::start(Path::new("/bin/sh"), output, |command| {
        command.arg("-c").arg(script);
    })
}

#[test]
fn a_program_is_read_and_asked_to_finish() {
    let dir = tempfile::tempdir().unwrap();
    let program = shell(
        &dir.path().join("out"),
        "trap 'exit 7' TERM; echo ready; while :; do read x < /dev/null; done",
    );
    assert_eventually_blocking!(program.output() == "ready\n", LONG, "the program speaks");
    assert_eq!(program.exited(), None);
    program.terminate();
    assert_eq!(program.wait(LONG).unwrap().code(), Some(7));
}

#[test]
fn a_dropped_program_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let program = shell(&dir.path().join("out"), "while :; do :; done");
    let status = format!("/proc/{}/status", program.id());
    program.pause();
    drop(program);
    assert!(!Path::new(&status).exists());
}
