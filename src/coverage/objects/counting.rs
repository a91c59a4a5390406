//! How an object counts: whether its counters can lie in a file (LLVM's continuous mode), and what can be known of them.
//!
//! Code that was compiled for continuous mode adds `__llvm_profile_counter_bias` to the address of each counter and defines
//! that symbol; the runtime defines its stand-in `__llvm_profile_counter_bias_default`, to which older runtimes let the first
//! name refer where nobody else defines it. See `compiler-rt/lib/profile/InstrProfilingFile.c` of LLVM 14 and 22.

use std::path::{Path, PathBuf};

use object::elf;
use object::read::ReadRef;
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, SectionHeader as _, Sym as _};
use object::{Endianness, FileKind};
use rayon::prelude::*;

use super::super::source::Contents;
use super::{ObjectsError, walk};
use crate::foreign;

const BIAS: &[u8] = b"__llvm_profile_counter_bias";
const BIAS_DEFAULT: &[u8] = b"__llvm_profile_counter_bias_default";
const VERSION: &[u8] = b"__llvm_profile_raw_version";

/// How a program, shared library or part of one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counting {
    /// Its counters; none if it has none.
    pub counters: Option<Counters>,
    /// Its symbols tell the version of its profiles.
    pub has_version: bool,
    /// The dynamic loader sees to it.
    pub is_dynamic: bool,
}

/// Where counters lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counters {
    /// In memory.
    InMemory,
    /// In memory or in a file.
    Anywhere,
}

/// Returns how a program or shared library counts.
pub fn counting(path: &Path) -> Result<Counting, ObjectsError> {
    let cache = open(path)?;
    let read = match FileKind::parse(&cache) {
        Ok(FileKind::Elf64) => elf_file::<elf::FileHeader64<Endianness>, _>(&cache),
        Ok(FileKind::Elf32) => elf_file::<elf::FileHeader32<Endianness>, _>(&cache),
        _ => {
            return Err(ObjectsError::NotLinked {
                path: path.to_owned(),
            });
        }
    };
    read.map_err(|source| ObjectsError::malformed(path, source, &cache))
}

/// Returns the relocatable files and archives of these trees that have counters which cannot lie in a file.
///
/// Once linked with others that can, they are not to be told apart. What cannot be read was not linked either.
#[must_use]
pub fn parts_without_relocation(trees: &[PathBuf]) -> Vec<PathBuf> {
    let (files, _) = walk::trees(trees);
    let mut parts: Vec<PathBuf> = files
        .into_par_iter()
        .filter(|path| {
            let ending = path.extension().unwrap_or_default();
            ["o", "lo", "a", "rlib"]
                .iter()
                .any(|known| ending == *known)
        })
        .filter(|path| is_without_relocation(path).unwrap_or(false))
        .collect();
    parts.sort_unstable();
    parts
}

fn is_without_relocation(path: &Path) -> Option<bool> {
    let cache = open(path).ok()?;
    let lacks = |counting: Counting| counting.counters == Some(Counters::InMemory);
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf64 => elf_file::<elf::FileHeader64<Endianness>, _>(&cache)
            .ok()
            .map(lacks),
        FileKind::Archive => {
            let archive = ArchiveFile::parse(&cache).ok()?;
            let mut members = archive.members().filter_map(|member| {
                let (at, size) = member.ok()?.file_range();
                let bytes = (&cache).read_bytes_at(at, size).ok()?;
                elf_file::<elf::FileHeader64<Endianness>, _>(bytes).ok()
            });
            Some(members.any(lacks))
        }
        _ => None,
    }
}

fn open(path: &Path) -> Result<Contents, ObjectsError> {
    let opened = foreign::open_linked(path).and_then(|file| Contents::new(file.into_file()));
    opened.map_err(|source| ObjectsError::Io {
        path: path.to_owned(),
        source,
    })
}

fn elf_file<'d, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(
    data: R,
) -> object::read::Result<Counting> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let has = |name: &[u8]| sections.section_by_name(endian, name).is_some();
    let mut counting = Counting {
        is_dynamic: sections
            .iter()
            .any(|section| section.sh_type(endian) == elf::SHT_DYNAMIC),
        ..Counting::default()
    };
    let symbols = sections.symbols(endian, data, elf::SHT_SYMTAB)?;
    let (mut bias, mut default) = (None, None);
    for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(endian)) {
        let place = Some((symbol.st_shndx(endian), symbol.st_value(endian).into()));
        match symbols.symbol_name(endian, symbol) {
            Ok(BIAS) => bias = place,
            Ok(BIAS_DEFAULT) => default = place,
            Ok(VERSION) => counting.has_version = true,
            _ => {}
        }
    }
    let is_relocatable = bias.is_some_and(|place: (_, u64)| Some(place) != default);
    counting.counters = has(b"__llvm_prf_cnts").then_some(if is_relocatable {
        Counters::Anywhere
    } else {
        Counters::InMemory
    });
    Ok(counting)
}
