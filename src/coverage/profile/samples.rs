//! Raw profiles made from parts, for tests of everything that reads them.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the numbers of a test are small"
)]

use super::Version;
use super::header::Header;

/// What a test wants to stand in a profile.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) version: Version,
    pub(crate) build_id: Vec<u8>,
    /// Name, hash, counters and bitmap of each function.
    pub(crate) functions: Vec<(u64, u64, Vec<u64>, Vec<u8>)>,
    pub(crate) names_delta: u64,
}

impl Sample {
    pub(crate) fn new(version: Version, functions: &[(u64, u64, &[u64])]) -> Self {
        let functions = functions
            .iter()
            .map(|(name, hash, counters)| (*name, *hash, counters.to_vec(), vec![]));
        Self {
            version,
            build_id: b"0123456789abcdef0123".to_vec(),
            functions: functions.collect(),
            names_delta: 7,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let names = b"\x03\x00abc".to_vec();
        let bitmap: Vec<u8> = self
            .functions
            .iter()
            .flat_map(|function| function.3.clone())
            .collect();
        let counters: Vec<u64> = self
            .functions
            .iter()
            .flat_map(|function| function.2.clone())
            .collect();
        let record = self.version.record_size() as u64;
        let data_size = record * self.functions.len() as u64;
        let mut ids = Vec::new();
        if !self.build_id.is_empty() {
            ids.extend((self.build_id.len() as u64).to_le_bytes());
            ids.extend(&self.build_id);
            ids.resize(ids.len().next_multiple_of(8), 0);
        }
        let header = Header {
            version: self.version,
            binary_ids: ids.len() as u64,
            records: self.functions.len() as u64,
            pad_before_counters: 0,
            counters: counters.len() as u64,
            pad_after_counters: 0,
            bitmap: bitmap.len() as u64,
            pad_after_bitmap: bitmap.len().next_multiple_of(8) as u64 - bitmap.len() as u64,
            names: names.len() as u64,
            counters_delta: data_size,
            bitmap_delta: data_size + 8 * counters.len() as u64,
            names_delta: self.names_delta,
            vtables: 0,
            vtable_names: 0,
            value_kind_last: if self.version == Version::V10 { 2 } else { 1 },
        };
        let (mut data, mut counter, mut bit) =
            (Vec::new(), header.counters_delta, header.bitmap_delta);
        for (name, hash, counters, bitmap) in &self.functions {
            let mut bytes = Vec::new();
            bytes.extend(name.to_le_bytes());
            bytes.extend(hash.to_le_bytes());
            bytes.extend(counter.to_le_bytes());
            if self.version >= Version::V9 {
                bytes.extend(bit.to_le_bytes());
            }
            bytes.extend([0; 16]);
            bytes.extend((counters.len() as u32).to_le_bytes());
            bytes.extend(if self.version == Version::V10 {
                vec![0; 8]
            } else {
                vec![0; 4]
            });
            if self.version >= Version::V9 {
                bytes.extend((bitmap.len() as u32).to_le_bytes());
            }
            bytes.resize(self.version.record_size(), 0);
            data.extend(bytes);
            counter = counter
                .wrapping_add(8 * counters.len() as u64)
                .wrapping_sub(record);
            bit = bit.wrapping_add(bitmap.len() as u64).wrapping_sub(record);
        }
        let mut bytes = header.to_bytes();
        bytes.extend(ids);
        bytes.extend(data);
        bytes.extend(counters.iter().flat_map(|counter| counter.to_le_bytes()));
        bytes.extend(&bitmap);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(names);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
}
