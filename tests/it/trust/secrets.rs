//! Which variables reach set-ups, builds, steps and the record of a run, and which do not.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::local::{here, project};
use crate::support::{Ended, Project};

/// Names of credentials, of clouds, forges, registries, databases and agents.
pub(crate) const SECRET: &[&str] = &[
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_RUNTIME_TOKEN",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "ANTHROPIC_API_KEY",
    "ARM_CLIENT_SECRET",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "BITBUCKET_AUTH",
    "CARGO_REGISTRIES_OURS_TOKEN",
    "CARGO_REGISTRY_TOKEN",
    "CI_DEPLOY_PASSWORD",
    "CI_DEPLOY_USER",
    "CI_JOB_JWT_V2",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "CLIENT_SECRET",
    "CODECOV_TOKEN",
    "CONAN_PASSWORD",
    "CUSTOM_ENV_CI_JOB_TOKEN",
    "DB_PASS",
    "DB_PASSWD",
    "DOCKER_AUTH_CONFIG",
    "GH_PAT",
    "GITHUB_TOKEN",
    "GIT_ASKPASS",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_KEY_0",
    "GIT_CONFIG_VALUE_0",
    "GNUPGHOME",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GPG_PASSPHRASE",
    "HF_TOKEN",
    "HPC_CI_GIT_TOKEN",
    "JWT",
    "KRB5CCNAME",
    "KUBECONFIG",
    "LDAP_BINDPW",
    "MYSQL_PWD",
    "NETRC",
    "NPM_TOKEN",
    "OPENAI_API_KEY",
    "PGPASSFILE",
    "PGPASSWORD",
    "REGISTRY_AUTH_FILE",
    "SENTRY_DSN",
    "SESSION_COOKIE",
    "SIGNING_PRIVATE_KEY",
    "SLACK_WEBHOOK_URL",
    "SLURM_JWT",
    "SSHPASS",
    "SSH_AUTH_SOCK",
    "SSH_PRIVATE_KEY",
    "SYSTEM_ACCESSTOKEN",
    "TOKEN",
    "TWINE_PASSWORD",
    "VAULT_ADDR",
    "VAULT_TOKEN",
    "WANDB_API_KEY",
    "X509_USER_PROXY",
    "aws_secret_access_key",
    "db_password",
];

/// Names that only look like it, and what builds need.
const HARMLESS: &[&str] = &[
    "AUTHOR",
    "CACHE_KEY",
    "CI_COMMIT_SHA",
    "COMPASS_DIR",
    "CRAY_LD_LIBRARY_PATH",
    "I_MPI_ROOT",
    "KEYBOARD",
    "LM_LICENSE_FILE",
    "LOADEDMODULES",
    "MAX_TOKENS",
    "MONKEY",
    "MPICH_GPU_SUPPORT_ENABLED",
    "OMPI_CC",
    "PASSWORDLESS",
    "SECRETARY",
    "SPACK_ROOT",
    "SSH_CLIENT",
    "SSH_TTY",
    "TOKENIZERS_PARALLELISM",
    "UCX_TLS",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID",
];

/// Values that give a variable of any name away.
const VALUES: &[(&str, &str)] = &[
    (
        "PIP_INDEX_URL",
        "https://ci:hush-hush@pypi.example.org/simple",
    ),
    ("CACHE_SERVER", "redis://:hush-hush@cache:6379/0"),
    (
        "MIRRORS",
        "https://a.example.org https://hush-hush@b.example.org",
    ),
    ("DEPLOY", "-----BEGIN OPENSSH PRIVATE KEY-----\nhush-hush\n"),
    ("ANYTHING", "glpat-hush-hush-hush-hush-hush"),
];

const SETTINGS: &str = "[workspace]\nroot = \"work\"\nstate = \"state\"\nartifacts = \"results\"\n\
     [environment]\nsetup = \"env >$PWD/set-up.txt\"\n\
     [build.tests]\ncommand = \"env >built.txt; env\"\n\
     [[test]]\nname = \"test\"\ncommand = \"env; cat set-up.txt built.txt\"\nlauncher = \"none\"\n";

/// A command with every variable of the tables.
fn told(command: &mut Command) -> &mut Command {
    for name in SECRET {
        command.env(name, "hush-hush");
    }
    for name in HARMLESS {
        command.env(name, "/may/be/seen");
    }
    command.envs(VALUES.iter().copied());
    for name in ["http_proxy", "HTTPS_PROXY", "all_proxy"] {
        command.env(name, "http://me:hush-hush@proxy.example.org:3128/");
    }
    command.env("no_proxy", "localhost")
}

fn names(text: &str) -> BTreeSet<&str> {
    text.split(['\n', '\0'])
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect()
}

/// What a run left: everything that set-up, build and step saw, and the record of its environment.
fn left(project: &Project) -> String {
    let mut text = String::new();
    let mut folders = vec![project.dir.join("work"), project.dir.join("results")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name() != "hpc-ci" {
                text += &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap());
            }
        }
    }
    text
}

#[test]
fn no_credential_reaches_set_up_build_step_or_record_and_what_looks_alike_does() {
    let project = project(SETTINGS);
    let mut command = here(&project, &["-v", "--scheduler", "local"]);
    let output = told(&mut command).output().unwrap();
    let ended = Ended::of(&project.dir, &output).exits_with(0);
    let text = left(&project) + &ended.out + &ended.err;
    assert!(text.contains("HPC_CI_STEP=test"), "{text}");
    assert_eq!(text.matches("hush-hush").count(), 0);
    let seen = names(&text);
    for name in SECRET.iter().chain(VALUES.iter().map(|(name, _)| name)) {
        assert!(!seen.contains(name), "{name}");
        assert!(
            ended.err.contains(name),
            "{name} is not told: {}",
            ended.err
        );
    }
    // Set-up, build twice, step, and the record.
    for name in HARMLESS {
        let times = text.matches(&format!("{name}=/may/be/seen")).count();
        assert!(times >= 4, "{name}: {times}");
    }
    for proxy in ["http_proxy", "HTTPS_PROXY", "all_proxy"] {
        let kept = format!("{proxy}=http://proxy.example.org:3128/");
        assert!(text.matches(&kept).count() >= 4, "{proxy}");
    }
    for name in ["PWD", "PATH", "HOME", "no_proxy"] {
        assert!(seen.contains(name), "{name}");
    }
}

/// The trusted file adds names and passes some; a commit's own file can do neither.
#[test]
fn the_trusted_file_alone_extends_and_bounds_the_list() {
    let greedy = "[trust]\npass = [\"*\"]\n";
    let project = project(&format!("{SETTINGS}{greedy}"));
    let trusted = project.dir.with_file_name("trusted.toml");
    let run = |trust: &str| {
        let text = format!(
            "[project]\nname = \"x\"\nrepository = \"{0}\"\n[workspace]\nroot = \"{0}/work\"\nstate = \"{0}/state\"\nartifacts = \"{0}/results\"\n{trust}",
            project.dir.display()
        );
        std::fs::write(&trusted, text).unwrap();
        for folder in ["work", "results"] {
            std::fs::remove_dir_all(project.dir.join(folder)).ok();
        }
        let mut command = here(&project, &["--scheduler", "local", "--config"]);
        command.arg(&trusted).env("OUR_LICENCE", "hush-hush");
        let output = told(&mut command).output().unwrap();
        Ended::of(&project.dir, &output).exits_with(0);
        left(&project)
    };
    let text = run("[trust]\nsecrets = [\"our_*\"]\n");
    assert_eq!(text.matches("hush-hush").count(), 0);
    let text = run("[trust]\npass = [\"AWS_PROFILE\", \"PIP_*\"]\n");
    let seen = names(&text);
    for name in ["AWS_PROFILE", "PIP_INDEX_URL", "OUR_LICENCE"] {
        assert!(seen.contains(name), "{name}");
    }
    assert!(!seen.contains("AWS_SESSION_TOKEN"));

    let odd = run_config(&project, &trusted, "[trust]\nsecrets = [\"A B\"]\n");
    assert!(odd.err.contains("letters, digits"), "{}", odd.err);
}

fn run_config(project: &Project, trusted: &std::path::Path, text: &str) -> Ended {
    std::fs::write(trusted, text).unwrap();
    let mut command = here(project, &["config", "--config"]);
    command.arg(trusted);
    Ended::of(&project.dir, &command.output().unwrap()).exits_with(2)
}

#[test]
fn config_names_what_is_withheld_and_conditions_cannot_ask_for_it() {
    let project = project(
        "[[test]]\nname = \"asks\"\ncommand = \"true\"\nonly = { environment = \"AWS_SECRET_ACCESS_KEY=hush*\" }\n",
    );
    let mut command = here(&project, &["config", "--format", "json"]);
    let ended = Ended::of(&project.dir, &told(&mut command).output().unwrap()).exits_with(0);
    let config: Value = serde_json::from_str(&ended.out).unwrap();
    let withheld: Vec<&str> = config["withheld"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        withheld.contains(&"AWS_SECRET_ACCESS_KEY") && withheld.contains(&"http_proxy"),
        "{withheld:?}"
    );
    assert!(!withheld.contains(&"PWD"), "{withheld:?}");
    let mut command = here(&project, &["--scheduler", "local"]);
    let ended = Ended::of(&project.dir, &told(&mut command).output().unwrap());
    assert_eq!(ended.outcome("asks").0, "skipped");
}
