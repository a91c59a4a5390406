//! Where the objects of a run are, so that nodes need not walk its work trees.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::objects::{self, Places};
use super::super::profile::Shape;
use super::ids;
use crate::foreign;

/// The objects of a run as they stood when it was built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectIndex {
    /// The builds of the work trees.
    builds: Vec<String>,
    /// Where they were looked for.
    places: Places,
    /// The objects, by path.
    objects: Vec<IndexedObject>,
}

/// An object of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedObject {
    /// Where it is.
    pub path: PathBuf,
    /// The build in whose tree it is; none outside of all trees.
    pub build: Option<String>,
    /// Its build id in hexadecimal.
    pub build_id: Option<String>,
    /// How many bytes a profile of it has.
    pub profile_bytes: u64,
}

impl ObjectIndex {
    /// Looks for the objects; `builds` are those whose trees are among the places, in their order.
    #[must_use]
    pub fn find(builds: Vec<String>, places: Places) -> Self {
        let found = objects::find(&places).objects.into_iter();
        let objects = found.map(|object| IndexedObject {
            build: object.tree.and_then(|tree| builds.get(tree).cloned()),
            path: object.path,
            build_id: object.build_id,
            profile_bytes: object.profile_bytes,
        });
        Self {
            objects: objects.collect(),
            builds,
            places,
        }
    }

    /// Reads what [`ObjectIndex::write`] wrote.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&foreign::read(
            path,
            foreign::DOCUMENT,
        )?)?)
    }

    /// Writes the index to a file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        foreign::put(path, serde_json::to_vec(self)?)
    }

    /// Returns how many bytes the largest profile of this build's programs has, as far as that is known.
    #[must_use]
    pub fn largest_profile(&self, build: &str) -> u64 {
        let own = self.objects.iter().filter(|object| object.is_of(build));
        own.map(|object| object.profile_bytes).max().unwrap_or(0)
    }

    /// Looks for the objects again.
    pub(super) fn anew(&self) -> Self {
        Self::find(self.builds.clone(), self.places.clone())
    }

    /// Returns whether a profile is of an object in here, by build id.
    pub(super) fn knows(&self, shape: &Shape) -> bool {
        let known = |id: &String| {
            self.objects
                .iter()
                .any(|object| object.build_id.as_ref() == Some(id))
        };
        ids(shape).any(|id| known(&id))
    }

    /// Returns the objects that these profiles may be of, those of the build first: by build id, all where one has none.
    pub(super) fn wanted<'a>(
        &self,
        build: &str,
        shapes: impl Iterator<Item = &'a Shape>,
    ) -> Vec<&IndexedObject> {
        let mut wanted = BTreeSet::new();
        let mut nameless = false;
        for shape in shapes {
            let before = wanted.len();
            wanted.extend(ids(shape));
            nameless |= wanted.len() == before && ids(shape).next().is_none();
        }
        let is_wanted = |object: &&IndexedObject| {
            nameless
                || object
                    .build_id
                    .as_ref()
                    .is_none_or(|id| wanted.contains(id))
        };
        let mut objects: Vec<_> = self.objects.iter().filter(is_wanted).collect();
        objects.sort_by_key(|object| !object.is_of(build));
        objects
    }
}

impl IndexedObject {
    fn is_of(&self, build: &str) -> bool {
        self.build.as_deref().is_none_or(|own| own == build)
    }
}
