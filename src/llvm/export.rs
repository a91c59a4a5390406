//! Exports objects with `llvm-cov`, leaving out those that it cannot read.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::merge::last_words;
use super::tools::Tools;
use super::{LlvmError, Request, write};
use crate::coverage::objects::Object;
use crate::process::{Command, Output};

/// What was exported.
pub(super) struct Exported {
    pub(super) tracefile: PathBuf,
    pub(super) left_out: Vec<(PathBuf, String)>,
    pub(super) mismatched_functions: u64,
    pub(super) remarks: Vec<String>,
}

/// Returns the first LLVM that reads coverage mapping of this format; newer formats than we know of are left to the tools.
///
/// 7 was tried with 16, which refuses it, and 19.
fn first_reader(format: u32) -> u32 {
    match format {
        7 => 18,
        6 => 13,
        _ => 0,
    }
}

/// Returns the tools to export with: those that the environment names if they will do, else the newest.
pub(super) fn choose<'t>(
    found: &'t [Tools],
    merged_with: &[Tools],
    objects: &[Object],
) -> Result<&'t Tools, LlvmError> {
    // An index is read by the release that wrote it and by later ones.
    let indexed_by = merged_with.iter().map(|tools| tools.version.major).max();
    let mut able = found
        .iter()
        .filter(|tools| Some(tools.version.major) >= indexed_by);
    let reads_all = |tools: &&Tools| {
        objects
            .iter()
            .all(|object| tools.version.major >= first_reader(object.mapping_format))
    };
    let chosen = able.clone().find(reads_all).or_else(|| able.next());
    chosen.ok_or(LlvmError::NoTools)
}

/// Writes the tracefile of all objects that the tools read.
pub(super) async fn export(
    tools: &Tools,
    found: &[Tools],
    request: &Request,
    profile: &Path,
) -> Result<Exported, LlvmError> {
    let (mut objects, mut left_out) = (Vec::new(), Vec::new());
    for Object {
        path,
        mapping_format,
        ..
    } in &request.objects
    {
        let first = first_reader(*mapping_format);
        if tools.version.major >= first {
            objects.push(path.as_path());
        } else {
            let reason = format!(
                "its coverage mapping has format {mapping_format}, which LLVM {first} or newer reads"
            );
            left_out.push((path.clone(), reason));
        }
    }
    if objects.is_empty() {
        let first = request
            .objects
            .iter()
            .map(|object| first_reader(object.mapping_format))
            .min();
        return Err(LlvmError::NoFittingTools {
            needs: "the coverage mapping of these programs is of a newer format".to_owned(),
            wanted: format!("LLVM {} or newer", first.unwrap_or_default()),
            found: found.to_vec(),
        });
    }
    while !objects.is_empty() {
        let output = run(tools, request, profile, &objects, &["-format=lcov"]).await?;
        if output.status.success() {
            let tracefile = request.work_dir.join("llvm-cov.info");
            write(&tracefile, &output.stdout).await?;
            let (mismatched_functions, remarks) = warnings(&output.stderr_text());
            return Ok(Exported {
                tracefile,
                left_out,
                mismatched_functions,
                remarks,
            });
        }
        let unreadable = match named(&output.stderr_text(), &objects) {
            Some(named) => vec![named],
            None => one_by_one(tools, request, profile, &objects).await?,
        };
        if unreadable.is_empty() {
            return Err(LlvmError::Failed {
                what: "`llvm-cov export`",
                said: last_words(&output),
            });
        }
        objects.retain(|object| unreadable.iter().all(|(path, _)| path != object));
        left_out.extend(unreadable);
    }
    Err(LlvmError::NothingExportable {
        version: tools.version,
        left_out,
    })
}

/// Returns the objects that cannot be read on their own. Before LLVM 15 the error does not say which it is.
async fn one_by_one(
    tools: &Tools,
    request: &Request,
    profile: &Path,
    objects: &[&Path],
) -> Result<Vec<(PathBuf, String)>, LlvmError> {
    let mut unreadable = Vec::new();
    for &object in objects {
        let output = run(tools, request, profile, &[object], &["-summary-only"]).await?;
        if !output.status.success() {
            unreadable.push((object.to_owned(), reason(&output)));
        }
    }
    Ok(unreadable)
}

async fn run(
    tools: &Tools,
    request: &Request,
    profile: &Path,
    objects: &[&Path],
    options: &[&str],
) -> Result<Output, LlvmError> {
    let arguments = request.work_dir.join("llvm-cov.arguments");
    write(&arguments, &response_file(profile, objects)).await?;
    let mut at_arguments = std::ffi::OsString::from("@");
    at_arguments.push(&arguments);
    let export = Command::new(&tools.cov)
        .arg("export")
        .args(options)
        .arg(format!("-num-threads={}", request.threads.max(1)))
        .arg(at_arguments)
        .environment(request.environment.iter().map(|(key, value)| (key, value)));
    Ok(export.output().await?)
}

/// Returns arguments as LLVM's programs read them from a file, where a thousand objects do not meet the limit of a
/// command line.
fn response_file(profile: &Path, objects: &[&Path]) -> Vec<u8> {
    let mut text = b"-instr-profile\n".to_vec();
    quote(profile, &mut text);
    for object in objects {
        text.extend(b"-object\n");
        quote(object, &mut text);
    }
    text
}

fn quote(path: &Path, text: &mut Vec<u8>) {
    text.push(b'"');
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.extend(b"\"\n");
}

/// Returns the object that an error names in quotes, and what is wrong with it.
fn named(stderr: &str, objects: &[&Path]) -> Option<(PathBuf, String)> {
    stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .find_map(|line| {
            objects.iter().find_map(|object| {
                let (_, reason) = line.split_once(&format!("'{}': ", object.display()))?;
                Some((object.to_path_buf(), reason.to_owned()))
            })
        })
}

fn reason(output: &Output) -> String {
    let stderr = output.stderr_text();
    let error = stderr.lines().find(|line| line.starts_with("error: "));
    let reason = error.and_then(|line| line.rsplit_once(": Failed to load coverage: "));
    reason.map_or_else(|| last_words(output), |(_, reason)| reason.to_owned())
}

/// Returns how many functions do not fit, and other warnings that mean something here.
fn warnings(stderr: &str) -> (u64, Vec<String>) {
    let mut mismatched = 0;
    let mut remarks = Vec::new();
    for line in stderr.lines().filter(|line| !line.trim().is_empty()) {
        let count = line
            .strip_prefix("warning: ")
            .and_then(|text| text.split_once(" functions have mismatched data"))
            .and_then(|(count, _)| count.parse::<u64>().ok());
        match count {
            Some(count) => mismatched += count,
            // Objects are often linked or copied after the first profile was written.
            None if line.ends_with("profile data may be out of date - object is newer") => {}
            None => remarks.push(line.to_owned()),
        }
    }
    (mismatched, remarks)
}

#[cfg(test)]
mod tests {
    use super::super::tools::Version;
    use super::*;

    fn tools(major: u32, chosen: bool) -> Tools {
        Tools {
            profdata: format!("/usr/lib/llvm-{major}/bin/llvm-profdata").into(),
            cov: format!("/usr/lib/llvm-{major}/bin/llvm-cov").into(),
            version: Version {
                major,
                minor: 1,
                patch: 0,
            },
            chosen,
        }
    }

    fn objects(formats: &[u32]) -> Vec<Object> {
        let object = |&mapping_format: &u32| Object {
            path: "program".into(),
            build_id: None,
            size: 0,
            profile_bytes: 0,
            mapping_format,
            tree: None,
        };
        formats.iter().map(object).collect()
    }

    #[test]
    fn exporter_reads_the_index_and_the_objects_if_any_does() {
        let check = |found: &[(u32, bool)], merged_with: u32, formats: &[u32], expected: u32| {
            let found: Vec<Tools> = found
                .iter()
                .map(|(major, chosen)| tools(*major, *chosen))
                .collect();
            let chosen = choose(&found, &[tools(merged_with, false)], &objects(formats));
            assert_eq!(
                chosen.map(|tools| tools.version.major).ok(),
                Some(expected),
                "{found:?} {formats:?}"
            );
        };
        check(&[(22, false), (19, false), (14, false)], 14, &[6, 7], 22);
        let asked = [(14, true), (22, false), (19, false)];
        check(&asked, 14, &[6], 14);
        check(&asked, 14, &[6, 7], 22);
        check(&asked, 19, &[6], 22);
        check(&[(14, false)], 14, &[6, 7], 14);
        check(&[(22, false)], 19, &[8], 22);
    }

    #[test]
    fn errors_name_objects() {
        let objects = ["/t/a: b", "/t/c"].map(Path::new);
        let check = |stderr: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(path, reason)| (PathBuf::from(path), reason.to_owned()));
            assert_eq!(named(stderr, &objects), expected, "{stderr}");
        };
        check(
            "warning: /t/c: profile data may be out of date - object is newer\n\
             error: Failed to load coverage: '/t/c': Unsupported coverage format version\n\
             error: Could not load coverage information\n",
            Some(("/t/c", "Unsupported coverage format version")),
        );
        check(
            "error: failed to load coverage: '/t/a: b': malformed coverage data\n",
            Some(("/t/a: b", "malformed coverage data")),
        );
        check(
            "error: /t/a: b, /t/c: Failed to load coverage: No such file or directory\n",
            None,
        );
    }

    #[test]
    fn warnings_are_counted_or_kept() {
        let stderr = "warning: 12 functions have mismatched data\n\
                      warning: /t/c: profile data may be out of date - object is newer\n\
                      warning: something else\n";
        assert_eq!(
            warnings(stderr),
            (12, vec!["warning: something else".to_owned()])
        );
    }

    #[test]
    fn odd_paths_are_quoted() {
        let text = response_file(Path::new("/w/sum"), &[Path::new("/t/a \"b\\c'")]);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(
            text,
            "-instr-profile\n\"/w/sum\"\n-object\n\"/t/a \\\"b\\\\c'\"\n"
        );
    }
}
