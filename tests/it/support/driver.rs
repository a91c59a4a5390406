//! A run whose driver is talked to while faults are done to its cluster.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use super::tools::full;
use super::{Ended, Project};

/// Lets a fault last for a minute, where there is time for that.
pub(crate) fn let_it_last() {
    if full() {
        std::thread::sleep(Duration::from_mins(1));
    }
}

/// A run under way, and the file that it talks to.
pub(crate) struct Driver<'a> {
    project: &'a Project,
    pub(crate) child: Child,
    talk: PathBuf,
}

impl<'a> Driver<'a> {
    pub(crate) fn start(project: &'a Project, arguments: &[&str]) -> Self {
        Self::start_with(project, arguments, &[])
    }

    pub(crate) fn start_with(
        project: &'a Project,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let talk = project.dir.with_file_name("talk.txt");
        let child = project
            .hpc_ci(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&talk).unwrap())
            .spawn()
            .unwrap();
        Self {
            project,
            child,
            talk,
        }
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.talk).unwrap()
    }

    /// Waits until it has said this so many times.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str, times: usize) {
        let begin = Instant::now();
        while self.said().matches(text).count() < times {
            let ended = self.child.try_wait().unwrap();
            let waited = begin.elapsed() > Duration::from_mins(3);
            assert!(
                ended.is_none() && !waited,
                "no `{text}` in:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a step has a job that runs, and returns the job.
    #[track_caller]
    pub(crate) fn runs(&mut self, step: &str) -> String {
        let text = format!("running   {step}  job ");
        self.says(&text, 1);
        self.job_behind(&text)
    }

    /// The number that stands behind this.
    #[track_caller]
    pub(crate) fn job_behind(&self, text: &str) -> String {
        let said = self.said();
        let (_, rest) = said.split_once(text).unwrap();
        let digits = rest.chars().take_while(char::is_ascii_digit);
        digits.collect()
    }

    pub(crate) fn ends(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let output = Output {
            status,
            stdout: Vec::new(),
            stderr: std::fs::read(&self.talk).unwrap(),
        };
        Ended::of(&self.project.dir, &output)
    }
}

/// A project without coverage whose steps are these.
pub(crate) fn with_steps(project: Project, toml: &str) -> Project {
    project.file(
        "hpc.toml",
        &format!(
            "[workspace]\nstate = \"hpc-ci/state\"\n[trust]\nstep_options = true\n[build.tests]\ncommand = \"true\"\ncoverage = \"none\"\n{toml}"
        ),
    );
    project.commit();
    project
}

#[track_caller]
pub(crate) fn tells(run: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(run.err.contains(text), "no `{text}` in:\n{}", run.err);
    }
}

/// The names of the jobs of a project's runs that accounting knows, each as often as it was started.
pub(crate) fn job_names(project: &Project) -> Vec<String> {
    let output = project
        .command("sacct")
        .args(["-D", "-n", "-P", "-X", "-o", "JobName,WorkDir"])
        .args(["-S", "now-1hours", "-a"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let own = project.dir.to_str().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(name, folder)| name.starts_with("hpc-ci/") && folder.starts_with(own))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Waits until accounting has so many starts of jobs; more would be too many.
#[track_caller]
pub(crate) fn jobs_started(project: &Project, expected: usize) {
    let mut names = Vec::new();
    for _ in 0..100 {
        names = job_names(project);
        if names.len() >= expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(names.len(), expected, "{names:#?}");
}
