//! Every file of `tests/data/broken` gives the messages that a person needs.

use super::tests::local;

macro_rules! broken {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../tests/data/broken/", $name, ".toml")))),+]
    };
}

/// The files; `tests/data/broken/README.md` says where they are from.
const FILES: &[(&str, &str)] = broken! {
    "01-missing-quote"
    "02-missing-value"
    "03-duplicate-key"
    "04-duplicate-table"
    "05-unclosed-list"
    "06-misspelt-table"
    "07-misspelt-key"
    "08-misspelt-step-key"
    "09-hyphens"
    "10-words-of-slurm"
    "11-key-of-another-table"
    "12-ranks-as-text"
    "13-no-ranks"
    "14-half-a-node"
    "15-time-as-number"
    "16-time-without-unit"
    "17-memory-of-nothing-known"
    "18-unknown-scheduler"
    "19-nameless-step"
    "20-empty-command"
    "21-two-steps-of-one-name"
    "22-undefined-need"
    "23-cycle"
    "24-needs-itself"
    "25-axis-and-key"
    "26-unknown-word"
    "27-braces-of-awk"
    "28-word-in-a-build"
    "29-value-twice"
    "30-axes-that-are-none"
    "31-axis-of-wrong-values"
    "32-exclude-of-nothing"
    "33-exclude-of-everything"
    "34-matrix-without-end"
    "35-regex"
    "36-metric-without-group"
    "37-benchmark-without-metric"
    "38-metrics-without-names"
    "39-glob"
    "40-undefined-variable"
    "41-malformed-variable"
    "42-steps-by-cluster"
    "43-undefined-build"
    "44-expectation"
    "45-words-that-slurm-would-split"
    "46-table-instead-of-list"
    "47-variables"
    "48-token-in-the-file"
    "49-two-kinds-of-memory"
    "50-instrumented-benchmarks"
    "51-ranks-without-room"
    "52-results-file"
    "53-conditions"
    "54-commands-before"
    "55-numbers-out-of-range"
    "56-control-characters"
    "57-everything-at-once"
};

#[test]
fn each_broken_file_has_its_messages() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../tests/data/broken");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, text) in FILES {
            match local(text) {
                Ok(_) => panic!("{name} passes"),
                Err(error) => insta::assert_snapshot!(*name, error.render(false)),
            }
        }
    });
}
