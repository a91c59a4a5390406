//! Coverage mappings: which functions a binary has, and which text of which file each counter counts.
//!
//! Defined in `llvm/docs/CoverageMappingFormat.rst` and read by `CoverageMappingReader.cpp` (LLVM 22). Versions 4 to 7 are
//! read here, which is what clang 11 to 22 and current rustc write into ELF files. Where the bytes lie in a binary is
//! left to [`super::object`], how often what ran to [`super::counts`].

mod bytes;
mod names;
mod regions;
mod units;

use std::collections::HashMap;

use bytes::Bytes;
pub use names::{Name, Names};
pub use regions::{Counter, Expression, MAX_LINE, Mapping, NoValue, Region, RegionKind, Values};
pub use units::{Files, Unit, Units};

use super::hash::NumberHash;

/// Why a binary's coverage mapping cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It ends too early.
    #[error("its coverage mapping is cut short")]
    CutShort,
    /// It contradicts itself.
    #[error("its coverage mapping is malformed: {0}")]
    Malformed(&'static str),
    /// Its packed texts would become too large.
    #[error(
        "its packed names become more than {} MiB and {} times their size",
        bytes::SPARE >> 20,
        bytes::RATIO
    )]
    Unpacked,
    /// It claims more lines than such a mapping has.
    #[error("its coverage mapping claims more than {0} lines of source")]
    Lines(u64),
    /// Its macros and files refer to one another in too many ways.
    #[error("its macros and files refer to one another in more than {0} ways")]
    Ways(u64),
    /// It is of a version that is not known here.
    #[error("its coverage mapping has version {0}")]
    Version(u32),
}

/// A function of a binary.
#[derive(Debug, Clone, Copy)]
pub struct Function<'a> {
    /// The hash of its name.
    pub name: u64,
    /// The hash of its structure.
    pub hash: u64,
    /// Its translation unit.
    pub unit: Unit,
    /// Its mapping, for [`Mapping::read`].
    pub mapping: &'a [u8],
}

/// Reads the functions of a binary from its sections `__llvm_covmap` and `__llvm_covfun`.
///
/// A function that is inlined into many translation units has a record in each. The first counts, unless it only says
/// that its unit did not use the function.
pub fn functions<'a>(
    units: &mut Units,
    covmap: &'a [u8],
    covfun: &'a [u8],
) -> Result<Vec<Function<'a>>, MappingError> {
    let of_hash = units.read(covmap)?;
    let mut functions: Vec<Function<'a>> = Vec::new();
    let mut known: HashMap<u64, usize, NumberHash> = HashMap::default();
    let mut bytes = Bytes(covfun);
    while bytes.0.iter().any(|&byte| byte != 0) {
        let (name, size, hash, unit) = (bytes.u64()?, bytes.u32()?, bytes.u64()?, bytes.u64()?);
        let mapping = bytes.take(size as usize)?;
        let padding = (28 + mapping.len()).next_multiple_of(8) - 28 - mapping.len();
        bytes.take(padding.min(bytes.0.len()))?;
        let unit = of_hash.get(&unit).ok_or(MappingError::Malformed(
            "a translation unit that is not there",
        ))?;
        // Two units whose lists of files only share the hash are both lost, as they are to LLVM.
        let Some(unit) = *unit else { continue };
        let function = Function {
            name,
            hash,
            unit,
            mapping,
        };
        match known.entry(name) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(functions.len());
                functions.push(function);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                if let Some(old) = functions.get_mut(*entry.get())
                    && is_unused(old)?
                    && !is_unused(&function)?
                {
                    *old = function;
                }
            }
        }
    }
    Ok(functions)
}

fn is_unused(function: &Function<'_>) -> Result<bool, MappingError> {
    Ok(function.hash == 0 && regions::is_unused(function.mapping)?)
}

/// Reads into `files` the number of each file of a function, within the list of its translation unit.
pub fn files_of(
    function: &Function<'_>,
    unit_files: usize,
    files: &mut Vec<u32>,
) -> Result<(), MappingError> {
    regions::files(function.mapping, unit_files, files)
}

/// Returns a function's mapping without its files: what equal functions of several translation units have in common.
pub fn behind_files<'a>(function: &Function<'a>) -> Result<&'a [u8], MappingError> {
    let mut bytes = Bytes(function.mapping);
    for _ in 0..bytes.count()? {
        bytes.number()?;
    }
    Ok(bytes.0)
}
