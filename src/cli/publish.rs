//! `publish`: sends finished artifacts, and what waits in the outbox, to where people look.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

use super::args::{Format, Global, RunArgs};
use super::console::Console;
use super::past;
use super::setting::Setting;
use crate::cancel::Cancel;
use crate::config::Site;
use crate::drive;
use crate::drive::progress::{StageKind, Under};
use crate::error::{Error, Exit};
use crate::git::Source;
use crate::launch::Place;
use crate::plan::project_key;
use crate::publish::http::{Http, Pace, ShownCall, Wire};
use crate::publish::outbox::Lock;
use crate::publish::{
    Circumstances, Courier, DeliveryError, Destination, Item, Material, Outbox, Parcel,
    PublishError, material,
};
use crate::results::record::Mark;
use crate::results::store;

/// How long another process may have the outbox.
const PATIENCE: Duration = Duration::from_mins(2);
/// The variable that bounds one request, in seconds.
const TIMEOUT: &str = "HPC_CI_PUBLISH_TIMEOUT";

/// Arguments of `publish`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without RUN or DIR, what stands in the artifacts folder is sent. Artifacts of one commit are joined.\nWhat waits in the outbox is sent too; nothing is sent twice.\n\nExamples:\n  hpc-ci publish\n  hpc-ci publish --dry-run\n  hpc-ci publish --artifacts tests/artifacts --artifacts benchmarks/artifacts"
)]
pub(super) struct PublishArgs {
    /// A run whose artifacts still stand in the artifacts folder.
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// A folder of artifacts, as a run left it.
    #[arg(long, value_name = "DIR")]
    artifacts: Vec<PathBuf>,
    /// Show every request, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not upload to Codecov.
    #[arg(long)]
    no_codecov: bool,
    /// The configuration; without it, hpc.toml here or in a parent directory.
    #[arg(long, env = "HPC_CI_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
}

pub(super) async fn publish(
    args: PublishArgs,
    global: &Global,
    console: &Arc<Console>,
) -> Result<Exit, Error> {
    let cancel = crate::cancel::watch().map_err(Error::Runtime)?;
    let setting = Setting::read(&RunArgs {
        config: args.config.clone(),
        ..RunArgs::default()
    })
    .await?;
    setting.check_folders()?;
    for note in &setting.notes {
        console.tell(&format!("note: {note}"));
    }
    let stopped = || cancel.asked();
    let office = Office::open(&setting.site, &setting.base, args.no_codecov, &stopped)?;
    let sets = office.sets(&args)?;
    if args.dry_run {
        return office.show(&sets, global, console).await;
    }
    let lock = office.outbox.lock(PATIENCE)?;
    if !sets.is_empty() {
        office.put(&lock, &sets, console)?;
    }
    let sent = office.send(&lock, &cancel, console).await?;
    if global.format == Format::Json {
        super::print_json(&sent.told)?;
    }
    if let Some(signal) = cancel.signal() {
        return Ok(Exit::Signal(signal));
    }
    if sent.told.is_empty() && !sent.failed {
        let why = if sets.is_empty() {
            "no artifacts stand here, and nothing waits in the outbox"
        } else {
            "what these artifacts hold for the destinations was sent before"
        };
        console.tell(&format!("nothing to publish: {why}"));
    }
    Ok(if sent.failed {
        Exit::Publish
    } else {
        Exit::Passed
    })
}

/// Publishes the artifacts of a run that has just ended, as far as settings want that; returns whether that went well.
pub(super) async fn after_run(
    request: &drive::Request,
    cancel: &Cancel,
    console: &Arc<Console>,
) -> Result<bool, Error> {
    let stopped = || cancel.asked();
    let site = &request.site;
    let in_allocation = request.place == Place::Allocation;
    let office = Office::open(site, &request.base, request.withheld.codecov, &stopped)?;
    if request.withheld.all || office.courier().destinations().is_empty() {
        return Ok(true);
    }
    let in_gitlab = (office.variable)("GITLAB_CI").is_some_and(|value| value == "true");
    let usual = !in_gitlab && !in_allocation;
    let wanted = site.publish.auto;
    // A job of GitLab hands its artifacts over to the job that publishes; in an allocation there may be no way out.
    let waits = wanted.is_none() && in_allocation && !in_gitlab;
    if !wanted.unwrap_or(usual) && !waits {
        return Ok(true);
    }
    let observer = console.observer();
    let under = Under::begin(&observer, StageKind::Publish, None);
    let lock = office.outbox.lock(PATIENCE)?;
    let set = material::set_in(&utf8(&request.artifacts)?)?;
    let item = office.put(&lock, &[set], console)?;
    if waits {
        if item.is_some() {
            console.tell("the results wait in the outbox: `hpc-ci publish` sends them from where there is a way out");
        }
        under.end(true);
        return Ok(true);
    }
    let published = !office.send(&lock, cancel, console).await?.failed;
    under.end(published);
    Ok(published)
}

/// All that publishing works with.
struct Office<'a> {
    site: &'a Site,
    /// What relative paths of the settings start from.
    base: &'a Path,
    source: Option<Source>,
    outbox: Outbox,
    no_codecov: bool,
    stopped: &'a dyn Fn() -> bool,
    variable: fn(&str) -> Option<String>,
}

/// What became of the deliveries.
struct Sent {
    failed: bool,
    told: Vec<Value>,
}

impl<'a> Office<'a> {
    fn open(
        site: &'a Site,
        base: &'a Path,
        no_codecov: bool,
        stopped: &'a dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        // Artifacts can be published from where no repository is.
        let source = Source::open(&site.project.repository, base).ok();
        let remote = source.as_ref().and_then(Source::remote);
        let name = site
            .project
            .name
            .clone()
            .or_else(|| source.as_ref().map(Source::name))
            .unwrap_or_else(|| "project".to_owned());
        let earlier = match remote {
            Some(remote) => remote.without_credentials(),
            None => base.display().to_string(),
        };
        let identity = source.as_ref().map(Source::identity);
        let key = project_key(&name, &identity.unwrap_or_else(|| past::nowhere(base)));
        let state = utf8(&base.join(&site.workspace.state))?;
        let outbox = Outbox::new(&state, &key);
        outbox.take_over(&state, &name, &earlier)?;
        Ok(Self {
            outbox,
            site,
            base,
            source,
            no_codecov,
            stopped,
            variable: |name| std::env::var(name).ok(),
        })
    }

    fn courier(&self) -> Courier<'_> {
        Courier {
            settings: &self.site.publish,
            base: self.base,
            source: self.source.as_ref(),
            mirrors: self.base.join(&self.site.workspace.root).join("mirrors"),
            disclosure: self.site.trust.disclosure,
            variable: &self.variable,
            no_codecov: self.no_codecov,
            cancelled: self.stopped,
        }
    }

    /// The folders that the command line means.
    fn sets(&self, args: &PublishArgs) -> Result<Vec<Utf8PathBuf>, Error> {
        let usual = utf8(&self.base.join(&self.site.workspace.artifacts))?;
        let mut sets = Vec::new();
        for folder in &args.artifacts {
            sets.push(material::set_in(&utf8(folder)?)?);
        }
        if !args.runs.is_empty() {
            let set = material::set_in(&usual)?;
            let earlier = store::open(&set).map_err(PublishError::from)?;
            let known: Vec<String> = earlier
                .into_iter()
                .flat_map(|earlier| earlier.meta.runs)
                .map(|run| run.run)
                .collect();
            if let Some(run) = args.runs.iter().find(|run| !known.contains(run)) {
                return Err(PublishError::NoRun {
                    run: run.clone(),
                    folder: set,
                    known,
                }
                .into());
            }
            sets.push(set);
        }
        if args.artifacts.is_empty() && args.runs.is_empty() {
            // Nothing there is no mistake: the outbox may hold something.
            sets.extend(material::set_in(&usual).ok());
        }
        Ok(sets)
    }

    fn circumstances(&self) -> Circumstances {
        let event = super::asker::event(&self.variable);
        Circumstances::read(&self.variable, event.as_ref())
    }

    fn put(
        &self,
        lock: &Lock,
        sets: &[Utf8PathBuf],
        console: &Console,
    ) -> Result<Option<Item>, Error> {
        let destinations = self.courier().destinations();
        if destinations.is_empty() {
            console.tell("note: nothing says where to publish: no table of [publish] stands in a trusted file");
        }
        for set in sets {
            tell_marks(set, console)?;
        }
        let circumstances = self.circumstances();
        Ok(self
            .outbox
            .put(lock, sets, &destinations, &circumstances, Utc::now())?)
    }

    /// Sends everything that waits.
    async fn send(&self, lock: &Lock, cancel: &Cancel, console: &Console) -> Result<Sent, Error> {
        let wire = Wire::Live(Http::new(self.pace()).map_err(PublishError::Client)?);
        let mut sent = Sent {
            failed: false,
            told: Vec::new(),
        };
        let mut out_of_reach = BTreeSet::new();
        for mut item in self.outbox.items()? {
            if item.is_stale(Utc::now()) {
                console.say(&format!(
                    "given up after 30 days in the outbox: {:.10}",
                    item.commit
                ));
                self.outbox.drop(lock, &item)?;
                continue;
            }
            let material = self.outbox.material(&item)?;
            let pending: Vec<Destination> = item.pending.keys().copied().collect();
            for destination in pending {
                if out_of_reach.contains(destination.server()) {
                    sent.failed = true;
                    continue;
                }
                let courier = self.courier();
                let again = item
                    .pending
                    .get(&destination)
                    .is_some_and(|it| it.tries > 0);
                self.outbox
                    .begin(lock, &mut item, destination, Utc::now())?;
                let parcel = Parcel {
                    material: &material,
                    circumstances: &item.circumstances,
                    again,
                };
                let delivery = courier.deliver(destination, parcel, &wire);
                let result = tokio::select! {
                    result = delivery => result,
                    () = cancel.token().cancelled() => return Ok(sent),
                };
                if result.as_ref().is_err_and(DeliveryError::is_unreachable) {
                    out_of_reach.insert(destination.server());
                }
                sent.failed |= result.is_err();
                sent.told
                    .push(self.tell(destination, &item, &result, console));
                let result = result.map(drop).map_err(|error| chain(&error));
                self.outbox
                    .note(lock, &mut item, destination, result, Utc::now())?;
            }
        }
        if sent.failed {
            console.say("what was not sent waits in the outbox: `hpc-ci publish` tries again");
        }
        Ok(sent)
    }

    fn tell(
        &self,
        destination: Destination,
        item: &Item,
        result: &Result<Vec<String>, DeliveryError>,
        console: &Console,
    ) -> Value {
        let what = format!("{} of {:.10}", destination.name(), item.commit);
        match result {
            Ok(notes) => {
                console.tell(&format!("published: {what}"));
                for note in notes {
                    console.tell(&format!("note: {note}"));
                }
            }
            Err(error) => {
                let help = self.courier().help(error);
                let help = help.map_or(String::new(), |help| format!("\n  help: {help}"));
                console.say(&format!("not published: {what}: {}{help}", chain(error)));
            }
        }
        json!({
            "destination": destination,
            "commit": item.commit,
            "sent": result.is_ok(),
            "error": result.as_ref().err().map(|error| chain(error)),
        })
    }

    /// Shows what would be sent.
    async fn show(
        &self,
        sets: &[Utf8PathBuf],
        global: &Global,
        console: &Console,
    ) -> Result<Exit, Error> {
        for set in sets {
            tell_marks(set, console)?;
        }
        let folder = tempfile::tempdir().map_err(Error::File)?;
        let items = self.outbox.preview(
            sets,
            &utf8(&folder.path().join("joined"))?,
            &self.courier().destinations(),
            &self.circumstances(),
            Utc::now(),
        )?;
        let mut calls = Vec::new();
        let mut failed = false;
        for (item, material) in &items {
            failed |= self.show_item(item, material, &mut calls, console).await;
        }
        if global.format == Format::Json {
            super::print_json(&calls)?;
        } else {
            console.say(&written(&calls));
        }
        Ok(if failed { Exit::Publish } else { Exit::Passed })
    }

    async fn show_item(
        &self,
        item: &Item,
        material: &Material,
        calls: &mut Vec<ShownCall>,
        console: &Console,
    ) -> bool {
        let mut failed = false;
        let wire = Wire::dry();
        let courier = self.courier();
        for (destination, delivery) in &item.pending {
            let parcel = Parcel {
                material,
                circumstances: &item.circumstances,
                again: delivery.tries > 0,
            };
            let result = courier.deliver(*destination, parcel, &wire).await;
            if let Err(error) = result {
                failed = true;
                console.say(&format!(
                    "cannot be published: {}: {}",
                    destination.name(),
                    chain(&error)
                ));
            }
            calls.extend(wire.take_shown());
        }
        failed
    }

    fn pace(&self) -> Pace {
        let seconds: Option<u64> = (self.variable)(TIMEOUT).and_then(|text| text.parse().ok());
        match seconds.filter(|seconds| *seconds > 0) {
            Some(seconds) => Pace {
                deadline: Duration::from_secs(seconds),
                ..Pace::default()
            },
            None => Pace::default(),
        }
    }
}

fn tell_marks(set: &Utf8PathBuf, console: &Console) -> Result<(), Error> {
    let earlier = store::open(set).map_err(PublishError::from)?;
    let marks: BTreeSet<Mark> = earlier
        .into_iter()
        .flat_map(|earlier| earlier.meta.runs)
        .flat_map(|run| run.marks)
        .collect();
    if !marks.is_empty() {
        let words: Vec<&str> = marks.into_iter().map(Mark::as_str).collect();
        console.tell(&format!(
            "note: these results are {}, and are not sent to where they would stand for the commit",
            words.join(", ")
        ));
    }
    Ok(())
}

fn written(calls: &[ShownCall]) -> String {
    if calls.is_empty() {
        return "nothing would be sent".to_owned();
    }
    let mut text = String::new();
    for call in calls {
        writeln!(text, "{} {}", call.method, call.url).expect("a String takes any text");
        for (name, value) in &call.headers {
            let value = value.as_str().unwrap_or_default();
            writeln!(text, "  {name}: {value}").expect("a String takes any text");
        }
        if !call.body.is_null() {
            let body = format!("{:#}", call.body).replace('\n', "\n  ");
            writeln!(text, "  {body}").expect("a String takes any text");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            write!(text, ": {said}").expect("a String takes any text");
        }
        cause = error.source();
    }
    text
}

fn utf8(path: &Path) -> Result<Utf8PathBuf, Error> {
    Utf8PathBuf::from_path_buf(path.to_owned())
        .map_err(|path| crate::drive::DriveError::Path { path }.into())
}
