//! Binaries: where their coverage mapping and build id lie.
//!
//! 64-bit little-endian ELF files are read: programs, shared libraries and object files. What the sections mean is left
//! to [`super::mapping`].

use std::borrow::Cow;

use object::elf::{FileHeader64, NT_GNU_BUILD_ID};
use object::read::elf::{FileHeader, SectionHeader};
use object::{LittleEndian, ReadRef};

/// Why a file is not a binary that can be reported on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// It is no ELF file, or one of another machine.
    #[error("not a 64-bit little-endian ELF file")]
    Foreign,
    /// Its headers contradict its size.
    #[error("its sections cannot be read")]
    Damaged,
    /// Its sections claim more than there is.
    #[error("its sections claim more than twice the bytes that it holds")]
    Hollow,
    /// It was built without coverage mapping.
    #[error("it has no coverage mapping")]
    NoMapping,
}

/// The sections of a binary that tell what is covered.
#[derive(Debug, Clone)]
pub struct Sections<'a> {
    /// The build id, if it was linked with one.
    pub build_id: Option<&'a [u8]>,
    /// `__llvm_covmap`: the files of each translation unit.
    pub covmap: &'a [u8],
    /// `__llvm_covfun`: the functions. Object files have one such section for each.
    pub covfun: Cow<'a, [u8]>,
    /// `__llvm_prf_names`: the names of the functions.
    pub names: &'a [u8],
}

/// Returns the sections of a binary.
pub fn sections<'a, R: ReadRef<'a>>(binary: R) -> Result<Sections<'a>, ObjectError> {
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(binary).map_err(|_| ObjectError::Foreign)?;
    let damaged = |_| ObjectError::Damaged;
    let sections = header.sections(endian, binary).map_err(damaged)?;
    let (mut build_id, mut covmap, mut names) = (None, None, None);
    let mut covfun: Option<Cow<'a, [u8]>> = None;
    for section in sections.iter() {
        let data = || section.data(endian, binary).map_err(damaged);
        match sections.section_name(endian, section).map_err(damaged)? {
            b"__llvm_covmap" => covmap = Some(data()?),
            b"__llvm_prf_names" if section.sh_size(endian) > 0 => names = Some(data()?),
            b"__llvm_covfun" => match &mut covfun {
                None => covfun = Some(Cow::Borrowed(data()?)),
                Some(all) => {
                    let all = all.to_mut();
                    all.resize(all.len().next_multiple_of(8), 0);
                    all.extend_from_slice(data()?);
                }
            },
            b".note.gnu.build-id" => {
                let Some(mut notes) = section.notes(endian, binary).map_err(damaged)? else {
                    continue;
                };
                while let Some(note) = notes.next().map_err(damaged)? {
                    if note.name() == b"GNU" && note.n_type(endian) == NT_GNU_BUILD_ID {
                        build_id = Some(note.desc());
                    }
                }
            }
            _ => {}
        }
    }
    let (covmap, names) = covmap.zip(names).ok_or(ObjectError::NoMapping)?;
    Ok(Sections {
        build_id,
        covmap,
        covfun: covfun.unwrap_or_default(),
        names,
    })
}
