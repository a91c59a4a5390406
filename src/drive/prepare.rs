//! Writes the files of attempts, arrays and packs into the run folder, and says what to ask the scheduler for.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::request::{self, Common, Made};
use super::state::Part;
use crate::foreign;
use crate::launch;
use crate::plan::group::{Group, Pack};
use crate::plan::{Disposition, Expect, Plan};
use crate::results::reports::Limits;
use crate::scheduler::JobRequest;

/// The version of `pack.json`.
const VERSION: u32 = 1;

/// What is written into `pack.json`: all that the steps of a pack need to run as steps of its allocation.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackFile {
    version: u32,
    pub(super) project: String,
    /// The steps, longest first.
    pub(super) plan: Plan,
    /// Which attempt of each step this is.
    pub(super) attempts: Vec<u32>,
    pub(super) made: BTreeMap<String, Made>,
    /// How much of what steps write is read.
    pub(super) limits: Limits,
    /// The time that its job asks for.
    pub(super) time: Duration,
    /// Its nodes.
    pub(super) nodes: u32,
    /// The cores of each.
    pub(super) cores: u32,
}

impl PackFile {
    pub(super) fn read(path: &Path) -> std::io::Result<Self> {
        let file: Self = serde_json::from_slice(&foreign::read(path, foreign::DOCUMENT)?)?;
        if file.version != VERSION {
            let what = format!("`pack.json` of version {}", file.version);
            return Err(std::io::Error::other(what));
        }
        Ok(file)
    }
}

/// A job that is ready to be submitted.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Its steps: index, attempt, and which part of the job it is.
    pub(super) steps: Vec<(usize, u32, Option<Part>)>,
    pub(super) request: JobRequest,
}

/// What all attempts of a run are prepared with.
pub(super) struct Prepare<'a> {
    pub(super) plan: &'a Plan,
    pub(super) folder: &'a RunFolder,
    pub(super) common: Common,
    /// What each build made.
    pub(super) made: BTreeMap<String, Made>,
    /// How many tasks of an array may run at a time.
    pub(super) at_once: u32,
}

impl Prepare<'_> {
    /// Writes the files of a group; `attempt` tells the number of each step's, `on` the nodes of a step within an allocation.
    pub(super) fn group(
        &self,
        group: &Group,
        attempt: &dyn Fn(usize) -> u32,
        on: &[String],
    ) -> std::io::Result<Unit> {
        match group {
            Group::Job(index) => Ok(Unit {
                steps: vec![(*index, attempt(*index), None)],
                request: self.step(*index, attempt(*index), on)?,
            }),
            Group::Array(steps) => self.array(steps, attempt),
            Group::Pack(pack) => self.pack(pack, attempt),
        }
    }

    fn step(&self, index: usize, attempt: u32, on: &[String]) -> std::io::Result<JobRequest> {
        let step = &self.plan.steps[index];
        let made = self
            .made
            .get(&step.build)
            .ok_or_else(|| std::io::Error::other(format!("no build `{}`", step.build)))?;
        let made = request::attempt(&self.common, self.folder, step, attempt, made, on);
        let dir = self.folder.attempt(&step.slug, attempt);
        fs_err::create_dir_all(&dir)?;
        let scripts = [("job.sh", &made.script), ("rank.sh", &made.wrapper)];
        let node = made.node.iter().map(|text| ("node.sh", text));
        for (name, text) in scripts.into_iter().chain(node) {
            script(&dir.join(name), text)?;
        }
        Ok(made.request)
    }

    fn array(&self, steps: &[usize], attempt: &dyn Fn(usize) -> u32) -> std::io::Result<Unit> {
        let (batch, dir) = self.new_batch()?;
        let mut parts = Vec::with_capacity(steps.len());
        let mut first = None;
        for (&index, task) in steps.iter().zip(0_u32..) {
            let number = attempt(index);
            let request = self.step(index, number, &[])?;
            let own = self.folder.attempt(&self.plan.steps[index].slug, number);
            fs_err::os::unix::fs::symlink(own, dir.join(task.to_string()))?;
            parts.push((index, number, Some(Part::Task { batch, task })));
            first.get_or_insert(request);
        }
        script(
            &dir.join("job.sh"),
            &launch::array_script(&dir.to_string_lossy()),
        )?;
        let alike = first.unwrap_or_default();
        let request = request::array(
            &self.common,
            self.folder,
            batch,
            alike,
            steps.len(),
            self.at_once,
        );
        Ok(Unit {
            steps: parts,
            request,
        })
    }

    fn pack(&self, pack: &Pack, attempt: &dyn Fn(usize) -> u32) -> std::io::Result<Unit> {
        let (batch, dir) = self.new_batch()?;
        let part = Some(Part::Packed { batch });
        let parts: Vec<_> = pack
            .steps
            .iter()
            .map(|&index| (index, attempt(index), part))
            .collect();
        let file = PackFile {
            version: VERSION,
            project: self.common.project.clone(),
            plan: self.packed_plan(pack),
            attempts: parts.iter().map(|(_, attempt, _)| *attempt).collect(),
            made: self.made.clone(),
            limits: self.common.limits,
            time: pack.time,
            nodes: pack.nodes,
            cores: pack.cores,
        };
        foreign::put(self.folder.pack_file(batch), serde_json::to_vec(&file)?)?;
        let program = self.folder.program();
        let text = launch::pack_script(&program.to_string_lossy(), &dir.to_string_lossy());
        script(&dir.join("job.sh"), &text)?;
        let first = &self.plan.steps[pack.steps[0]];
        Ok(Unit {
            steps: parts,
            request: request::pack(&self.common, self.folder, batch, pack, first),
        })
    }

    /// The steps as they run within the pack: needs outside of it have been met, and what their ends mean is decided by the run
    /// that packed them.
    fn packed_plan(&self, pack: &Pack) -> Plan {
        let mut plan = Plan {
            steps: pack
                .steps
                .iter()
                .map(|&index| self.plan.steps[index].clone())
                .collect(),
            ..self.plan.clone()
        };
        let names: Vec<String> = plan.steps.iter().map(|step| step.name.clone()).collect();
        for step in &mut plan.steps {
            step.needs.retain(|need| names.contains(need));
            step.retries = 0;
            step.expect = Expect::Pass;
            step.disposition = Disposition::Run;
        }
        plan
    }

    /// Makes the folder of another array or pack. Numbers go up, also over a resumption.
    fn new_batch(&self) -> std::io::Result<(u32, PathBuf)> {
        let mut number = 1;
        loop {
            let dir = self.folder.batch(number);
            if let Some(parent) = dir.parent() {
                fs_err::create_dir_all(parent)?;
            }
            match fs_err::create_dir(&dir) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                made => return made.map(|()| (number, dir)),
            }
        }
    }
}

fn script(path: &Path, text: &str) -> std::io::Result<()> {
    foreign::put(path, text)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}
