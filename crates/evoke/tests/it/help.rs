//! What `--help` says.

use crate::evoke::{evoke, run};

const COMMANDS: &[&str] = &[
    "",
    "serve",
    "dev",
    "new",
    "deploy",
    "invoke",
    "send",
    "filter",
    "events",
    "events ls",
    "events get",
    "events explain",
    "events delayed",
    "events cancel",
    "events replay",
    "replays",
    "replays ls",
    "replays get",
    "replays cancel",
    "runs",
    "runs ls",
    "runs get",
    "runs result",
    "runs cancel",
    "logs",
    "dlq",
    "dlq ls",
    "dlq redrive",
    "queues",
    "queues ls",
    "queues stats",
    "subscriptions",
    "subscriptions ls",
    "subscriptions pause",
    "subscriptions resume",
    "hooks",
    "hooks ls",
    "hooks enable",
    "hooks test",
    "secrets",
    "secrets ls",
    "secrets set",
    "secrets rm",
    "functions",
    "functions ls",
    "schedules",
    "waits",
    "waits ls",
    "waits cancel",
    "store",
    "store verify",
    "store backup",
    "store restore",
    "store salvage",
    "store stats",
    "doctor",
    "completions",
];

#[test]
fn every_command_explains_itself() {
    let here = std::env::temp_dir();
    for command in COMMANDS {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let said = evoke(&here, &args).ok();
        assert_eq!(said.stderr, "");
        let name = if command.is_empty() { "evoke".to_owned() } else { format!("evoke {command}") };
        insta::assert_snapshot!(name.replace(' ', "_"), said.stdout);
    }
}

#[test]
fn the_reference_names_every_command_and_option() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let here = std::env::temp_dir();
    for command in COMMANDS.iter().filter(|command| {
        !["events", "runs", "dlq", "queues", "subscriptions", "hooks", "secrets", "functions", "store"]
            .contains(command)
    }) {
        assert!(
            reference.contains(&format!("evoke {command}").trim_end().to_owned()),
            "{command} is not described"
        );
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let help = evoke(&here, &args).ok().stdout;
        let options =
            help.split(|c: char| !c.is_ascii_lowercase() && c != '-').filter(|word| word.starts_with("--"));
        for option in options.filter(|option| option.len() > 3) {
            let (long, short) = (format!("{option} "), short_of(&help, option));
            let found =
                [long.trim_end(), short.as_deref().unwrap_or(option)].iter().any(|it| reference.contains(it));
            assert!(found, "{option} of {command} is not described");
        }
    }
}

/// `-n` for `--limit`, where the help has both.
fn short_of(help: &str, long: &str) -> Option<String> {
    let at = help.find(&format!(", {long}"))?;
    Some(help[at.checked_sub(2)?..at].to_owned())
}

#[test]
fn a_wrong_command_line_is_usage() {
    let here = std::env::temp_dir();
    for args in
        [&["fly"][..], &[], &["serve", "--listen", "7070"], &["serve", "--grace", "10"], &["logs", "-n", "0"]]
    {
        let said = evoke(&here, args);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{args:?}");
    }
    let said = evoke(&here, &["serve", "--grace", "10"]);
    insta::assert_snapshot!(said.stderr, @r#"
    error: invalid value '10' for '--grace <DURATION>': it has no unit; write it with the units d, h, m, s, ms: "250ms", "10s", "1m30s"

    For more information, try '--help'.
    "#);
}

#[test]
fn completions_know_every_command() {
    let here = std::env::temp_dir();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = evoke(&here, &["completions", shell]).ok();
        assert!(said.stdout.contains("redrive"), "{shell}");
        assert!(!said.stdout.contains("launcher"), "{shell} completes what is hidden");
        let json = evoke(&here, &["completions", shell, "--json"]).ok().json();
        assert_eq!(json["script"].as_str(), Some(said.stdout.as_str()));
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let here = std::env::temp_dir();
    let script =
        format!("{} completions zsh | head -n 1; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_evoke"));
    let said = run(std::process::Command::new("bash").args(["-c", &script]).current_dir(here));
    assert_eq!((said.stdout.lines().last(), said.stderr.as_str()), (Some("0"), ""));
}

#[test]
fn colours_are_for_terminals_and_never_with_no_color() {
    let coloured = |set: &[(&str, &str)]| {
        let dir = crate::evoke::folder(&[]);
        let mut command = crate::evoke::command(dir.path());
        run(command.args(["deploy"]).envs(set.iter().copied())).stderr.contains('\u{1b}')
    };
    assert!(!coloured(&[]), "a pipe got colours");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]), "no colours although they were forced");
    // As a terminal sees it: `script` runs the command on one.
    let on_terminal = |no_color: &str| {
        let script = format!("{no_color} {} deploy", env!("CARGO_BIN_EXE_evoke"));
        let dir = crate::evoke::folder(&[]);
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &script, "/dev/null"]).current_dir(dir.path()).env("TERM", "xterm");
        run(command.env_remove("NO_COLOR")).stdout.contains('\u{1b}')
    };
    assert!(on_terminal(""), "a terminal got no colours");
    assert!(!on_terminal("NO_COLOR=1"), "NO_COLOR was ignored");
}
