//! The energy that jobs used, where a cluster gathers it: the text of `scontrol show config` and `sacct` → joules.

use std::collections::BTreeMap;

use super::parse;
use crate::scheduler::JobId;

/// The columns that [`joules`] reads.
pub(super) const FORMAT: &str = "JobID,ConsumedEnergyRaw";

/// Slurm's word for a number that nobody set is one of the two largest.
const UNSET: f64 = 18_446_744_073_709_551_613.0;

/// What a cluster's books say of energy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Energy {
    /// The plugin that gathers it.
    pub source: String,
    /// What each job used, in joules. A job that nothing was gathered of is not here.
    pub joules: BTreeMap<JobId, f64>,
}

/// Returns the plugin that gathers energy, by `scontrol show config`; `None` if none does.
pub(super) fn source(config: &str) -> Option<String> {
    let lines = config.lines().filter_map(|line| line.split_once('='));
    let mut types = lines.filter(|(key, _)| key.trim() == "AcctGatherEnergyType");
    let kind = parse::said(types.next()?.1)?;
    // A cluster without has no such type, or `acct_gather_energy/none` as older versions say.
    (!kind.ends_with("/none")).then_some(kind)
}

/// Returns what `sacct -n -P -X -o FORMAT` says of each job. Slurm writes 0 where a node measured nothing.
pub(super) fn joules(text: &str) -> BTreeMap<JobId, f64> {
    let lines = text.lines().filter_map(|line| {
        let (id, joules) = line.split_once('|')?;
        let joules: f64 = joules.trim().parse().ok()?;
        let id = id.trim().parse().ok()?;
        (joules > 0.0 && joules < UNSET).then_some((id, joules))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_that_nobody_gathers_has_no_source() {
        let check = |line: &str, expected: Option<&str>| {
            let config = format!("AccountingStorageType = x\n{line}\nSLURM_VERSION = 22.05.8\n");
            assert_eq!(source(&config).as_deref(), expected, "{line}");
        };
        check("AcctGatherEnergyType    = acct_gather_energy/none", None);
        check("AcctGatherEnergyType    = (null)", None);
        check(
            "AcctGatherFilesystemType = acct_gather_filesystem/none",
            None,
        );
        let rapl = "acct_gather_energy/rapl";
        check(&format!("AcctGatherEnergyType    = {rapl}"), Some(rapl));
        let captured = include_str!("../../../tests/data/slurm/22.05/config.txt");
        assert_eq!(source(captured), None);
    }

    #[test]
    fn what_was_not_measured_is_not_0() {
        let text = "71|101630\n72|0\n73|\n74_3|794\n75|18446744073709551614\n76|18446744073709551615\n\
                    77+0|12\n78|nan\n79|-4\nCLUSTER: alps\n";
        let all = joules(text);
        let all: Vec<_> = all
            .iter()
            .map(|(id, joules)| (id.as_str(), *joules))
            .collect();
        assert_eq!(all, [("71", 101_630.0), ("74_3", 794.0), ("77+0", 12.0)]);
    }
}
