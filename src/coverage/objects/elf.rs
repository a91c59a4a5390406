//! Reads from an ELF file no more than its headers, its build id and what its sections say of coverage.

use std::fs::Metadata;
use std::io::{self, Read};
use std::path::Path;

use object::elf::{self, DataEncoding, FileClass, FileType};
use object::read::ReadRef;
use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use object::{Endianness, U32};

use super::super::source::Contents;
use super::ObjectsError;
use crate::foreign;

/// Bytes of `.comment` that are read; a large program repeats few remarks.
const LONGEST_COMMENT: u64 = 64 << 10;

/// The sections that a process writes into its profile. Headers and padding are small beside them.
const PROFILE_SECTIONS: [&[u8]; 4] = [
    b"__llvm_prf_data",
    b"__llvm_prf_cnts",
    b"__llvm_prf_bits",
    b"__llvm_prf_names",
];

/// How much of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing of a file without coverage mapping.
    Mapping,
    /// All of any linked file.
    Everything,
}

/// What an ELF file says of itself.
pub(super) struct Facts {
    pub(super) build_id: Option<String>,
    pub(super) mapping: Option<Mapping>,
    /// Whether it has counters.
    pub(super) counts: bool,
    /// How many bytes a profile of it has.
    pub(super) profile_bytes: u64,
    pub(super) comment: Vec<u8>,
    pub(super) metadata: Metadata,
}

/// Its coverage mapping.
pub(super) struct Mapping {
    pub(super) format: u32,
    /// The sizes of `__llvm_covmap` and `__llvm_covfun`.
    pub(super) sizes: (u64, u64),
}

/// Returns what a program or shared library says of itself, nothing if the file is something else.
pub(super) fn facts(path: &Path, wanted: Wanted) -> Result<Option<Facts>, ObjectsError> {
    let io_error = |source| ObjectsError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = foreign::open_linked(path).map_err(io_error)?.into_file();
    let mut start = [0; 18];
    match file.read_exact(&mut start) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(io_error(error)),
    }
    let Some(class) = class_if_linked(&start) else {
        return Ok(None);
    };
    let metadata = file.metadata().map_err(io_error)?;
    let cache = Contents::new(file).map_err(io_error)?;
    let facts = match class {
        elf::ELFCLASS64 => read::<elf::FileHeader64<Endianness>>(&cache, metadata, wanted),
        _ => read::<elf::FileHeader32<Endianness>>(&cache, metadata, wanted),
    };
    facts.map_err(|source| ObjectsError::malformed(path, source, &cache))
}

/// Returns the class of an ELF file that the linker made to be run or loaded.
fn class_if_linked(start: &[u8; 18]) -> Option<FileClass> {
    let [0x7f, b'E', b'L', b'F', class, order, ..] = *start else {
        return None;
    };
    let class = FileClass(class);
    let kind = match DataEncoding(order) {
        elf::ELFDATA2LSB => u16::from_le_bytes([start[16], start[17]]),
        elf::ELFDATA2MSB => u16::from_be_bytes([start[16], start[17]]),
        _ => return None,
    };
    let linked = [elf::ET_EXEC, elf::ET_DYN].contains(&FileType(kind));
    (linked && [elf::ELFCLASS64, elf::ELFCLASS32].contains(&class)).then_some(class)
}

fn read<Elf: FileHeader<Endian = Endianness>>(
    data: &Contents,
    metadata: Metadata,
    wanted: Wanted,
) -> object::read::Result<Option<Facts>> {
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let section = |name: &[u8]| {
        sections
            .section_by_name(endian, name)
            .map(|(_, section)| section)
    };
    let size = |name: &[u8]| section(name).map_or(0, |section| section.sh_size(endian).into());
    let mapping = match section(b"__llvm_covmap") {
        Some(covmap) => format(endian, covmap, data)?.map(|format| Mapping {
            format,
            sizes: (covmap.sh_size(endian).into(), size(b"__llvm_covfun")),
        }),
        None => None,
    };
    if mapping.is_none() && wanted == Wanted::Mapping {
        return Ok(None);
    }
    let comment = match section(b".comment") {
        Some(comment) if comment.sh_size(endian).into() <= LONGEST_COMMENT => {
            comment.data(endian, data)?.to_owned()
        }
        _ => Vec::new(),
    };
    Ok(Some(Facts {
        build_id: build_id(endian, &sections, data)?,
        mapping,
        counts: section(b"__llvm_prf_cnts").is_some(),
        profile_bytes: PROFILE_SECTIONS
            .iter()
            .map(|name| size(name))
            .fold(0, u64::saturating_add),
        comment,
        metadata,
    }))
}

/// Returns the format of a coverage mapping, nothing if the section is left empty.
///
/// The section begins with four 32-bit words, the last of which is the format minus one.
/// See `llvm/docs/CoverageMappingFormat.rst` of LLVM 22.
fn format<S: SectionHeader<Endian = Endianness>>(
    endian: Endianness,
    section: &S,
    data: &Contents,
) -> object::read::Result<Option<u32>> {
    let Some((offset, 16..)) = section.file_range(endian) else {
        return Ok(None);
    };
    match data.read_at::<U32<Endianness>>(offset.saturating_add(12)) {
        Ok(word) => Ok(Some(word.get(endian).saturating_add(1))),
        // The section reaches beyond the file, which reading it whole puts into words.
        Err(()) => section.data(endian, data).map(|_| None),
    }
}

fn build_id<'d, Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    sections: &SectionTable<'d, Elf, &'d Contents>,
    data: &'d Contents,
) -> object::read::Result<Option<String>> {
    for section in sections.iter() {
        let Some(mut notes) = section.notes(endian, data)? else {
            continue;
        };
        while let Some(note) = notes.next()? {
            if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID {
                let hex = note.desc().iter().map(|byte| format!("{byte:02x}"));
                return Ok(Some(hex.collect()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) const ET_REL: u16 = 1;
    pub(in super::super) const ET_EXEC: u16 = 2;
    pub(in super::super) const ET_DYN: u16 = 3;

    /// Returns a 64-bit ELF file with these sections; those called `note` are notes.
    pub(in super::super) fn elf(kind: u16, sections: &[(&str, &[u8])]) -> Vec<u8> {
        const HEADER: usize = 64;
        let mut body = Vec::new();
        let mut names = vec![0];
        let mut headers = vec![0; 64];
        let mut header = |body: &mut Vec<u8>,
                          names: &mut Vec<u8>,
                          name: &str,
                          kind: u32,
                          bytes: Option<&[u8]>| {
            let name_at = u32::try_from(names.len()).unwrap();
            names.extend(name.bytes());
            names.push(0);
            let bytes = bytes.map_or_else(|| names.clone(), <[u8]>::to_vec);
            let offset = (HEADER + body.len()) as u64;
            body.extend(&bytes);
            body.resize(body.len().next_multiple_of(8), 0);
            headers.extend(name_at.to_le_bytes());
            headers.extend(kind.to_le_bytes());
            for word in [0, 0, offset, bytes.len() as u64, 0, 4, 0] {
                headers.extend(u64::to_le_bytes(word));
            }
        };
        for (name, bytes) in sections {
            header(
                &mut body,
                &mut names,
                name,
                if *name == "note" { 7 } else { 1 },
                Some(bytes),
            );
        }
        header(&mut body, &mut names, ".shstrtab", 3, None);
        let count = u16::try_from(headers.len() / 64).unwrap();
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(kind.to_le_bytes());
        file.extend([62, 0, 1, 0, 0, 0]);
        for word in [0, 0, (HEADER + body.len()) as u64] {
            file.extend(u64::to_le_bytes(word));
        }
        file.extend([0; 4]);
        for half in [64, 0, 0, 64, count, count - 1] {
            file.extend(u16::to_le_bytes(half));
        }
        [file, body, headers].concat()
    }

    proptest! {
        #[test]
        fn changed_bytes_never_panic(changes in prop::collection::vec((0..400_usize, any::<u8>()), 1..8), cut in 0..500_usize) {
            let mut bytes = elf(ET_DYN, &[("__llvm_covmap", &[0; 24]), ("note", &[4; 20]), (".comment", b"x\0")]);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().max(cut) - cut);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            drop(super::super::counting(file.path()));
            if let Ok(Some(facts)) = facts(file.path(), Wanted::Everything) {
                prop_assert_eq!(facts.metadata.len(), bytes.len() as u64);
            }
        }
    }
}
