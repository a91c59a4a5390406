//! The first half of MD5 (RFC 1321), of many texts side by side.
//!
//! LLVM refers to a function by this hash of its name, so a binary's names are all hashed when it is read. One text after
//! another, that was a tenth of the time of a report: each step of MD5 waits for the step before. Eight texts at once
//! keep the processor busy, and the compiler turns the lanes into vector instructions.

/// How many texts are hashed at once.
const LANES: usize = 8;

type Lanes = [u32; LANES];

const BLOCK: usize = 64;

/// The integer part of `abs(sin(step + 1)) * 2^32` for each step.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// Returns the hash of a text.
pub(crate) fn md5(text: &[u8]) -> u64 {
    md5_each(&[text]).first().copied().unwrap_or(0)
}

/// Returns the hash of each text.
pub(crate) fn md5_each(texts: &[&[u8]]) -> Vec<u64> {
    let mut hashes = vec![0; texts.len()];
    // Texts of as many blocks go together, so that no lane waits for another.
    let mut order: Vec<(usize, usize)> = texts.iter().map(|text| blocks(text)).zip(0..).collect();
    order.sort_unstable();
    for some in order.chunks(LANES) {
        let lanes: [&[u8]; LANES] = std::array::from_fn(|lane| {
            some.get(lane)
                .and_then(|(_, at)| texts.get(*at))
                .copied()
                .unwrap_or(b"")
        });
        for ((_, at), hash) in some.iter().zip(hash_lanes(lanes)) {
            if let Some(slot) = hashes.get_mut(*at) {
                *slot = hash;
            }
        }
    }
    hashes
}

/// Returns the number of blocks of a text with its padding: a one bit, zeros, and the length.
fn blocks(text: &[u8]) -> usize {
    (text.len() + 9).div_ceil(BLOCK)
}

fn hash_lanes(texts: [&[u8]; LANES]) -> [u64; LANES] {
    let mut state = [
        [0x6745_2301; LANES],
        [0xefcd_ab89; LANES],
        [0x98ba_dcfe; LANES],
        [0x1032_5476; LANES],
    ];
    let mut hashes = [0; LANES];
    let count = texts.map(blocks);
    for number in 0..count.into_iter().max().unwrap_or(0) {
        let blocks = texts.map(|text| block(text, number));
        let words: [Lanes; 16] =
            std::array::from_fn(|word| std::array::from_fn(|lane| blocks[lane][word]));
        compress(&mut state, &words);
        for lane in 0..LANES {
            if number + 1 == count[lane] {
                hashes[lane] = u64::from(state[1][lane]) << 32 | u64::from(state[0][lane]);
            }
        }
    }
    hashes
}

/// Returns a block of a text with its padding.
fn block(text: &[u8], number: usize) -> [u32; 16] {
    let start = number * BLOCK;
    let rest = text.get(start..).unwrap_or_default();
    let mut bytes = [0; BLOCK];
    if let Some(whole) = rest.first_chunk() {
        bytes = *whole;
    } else {
        bytes
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        if let Some(end) = text
            .len()
            .checked_sub(start)
            .and_then(|end| bytes.get_mut(end))
        {
            *end = 0x80;
        }
        if number + 1 == blocks(text) {
            let bits = (text.len() as u64).wrapping_mul(8).to_le_bytes();
            bytes
                .iter_mut()
                .skip(BLOCK - 8)
                .zip(bits)
                .for_each(|(to, from)| *to = from);
        }
    }
    let words = bytes.as_chunks::<4>().0;
    std::array::from_fn(|at| u32::from_le_bytes(words[at]))
}

fn compress(state: &mut [Lanes; 4], words: &[Lanes; 16]) {
    let before = *state;
    round::<7, 12, 17, 22>(state, 0, |step| &words[step], |x, y, z| z ^ x & (y ^ z));
    round::<5, 9, 14, 20>(
        state,
        16,
        |step| &words[(5 * step + 1) % 16],
        |x, y, z| y ^ z & (x ^ y),
    );
    round::<4, 11, 16, 23>(
        state,
        32,
        |step| &words[(3 * step + 5) % 16],
        |x, y, z| x ^ y ^ z,
    );
    round::<6, 10, 15, 21>(
        state,
        48,
        |step| &words[7 * step % 16],
        |x, y, z| y ^ (x | !z),
    );
    for (lanes, before) in state.iter_mut().zip(before) {
        lanes
            .iter_mut()
            .zip(before)
            .for_each(|(lane, before)| *lane = lane.wrapping_add(before));
    }
}

/// Sixteen steps. Shifts are constants because only then the compiler makes vector instructions of the lanes.
fn round<'a, const S0: u32, const S1: u32, const S2: u32, const S3: u32>(
    state: &mut [Lanes; 4],
    first: usize,
    word: impl Fn(usize) -> &'a Lanes,
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
) {
    let [a, b, c, d] = state;
    for step in (0..16).step_by(4) {
        let sine = |at: usize| SINES[first + step + at];
        turn::<S0>(a, b, c, d, word(step), sine(0), mix);
        turn::<S1>(d, a, b, c, word(step + 1), sine(1), mix);
        turn::<S2>(c, d, a, b, word(step + 2), sine(2), mix);
        turn::<S3>(b, c, d, a, word(step + 3), sine(3), mix);
    }
}

#[inline]
fn turn<const SHIFT: u32>(
    changed: &mut Lanes,
    x: &Lanes,
    y: &Lanes,
    z: &Lanes,
    word: &Lanes,
    sine: u32,
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    for lane in 0..LANES {
        let sum = changed[lane].wrapping_add(mix(x[lane], y[lane], z[lane]));
        let sum = sum.wrapping_add(sine).wrapping_add(word[lane]);
        changed[lane] = sum.rotate_left(SHIFT).wrapping_add(x[lane]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        // The test suite of RFC 1321, the first half of each hash.
        let check = |text: &str, expected: u64| {
            assert_eq!(md5(text.as_bytes()).swap_bytes(), expected, "{text}");
        };
        check("", 0xd41d_8cd9_8f00_b204);
        check("a", 0x0cc1_75b9_c0f1_b6a8);
        check("abc", 0x9001_5098_3cd2_4fb0);
        check("message digest", 0xf96b_697d_7cb7_938d);
        check("abcdefghijklmnopqrstuvwxyz", 0xc3fc_d3d7_6192_e400);
        check(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            0xd174_ab98_d277_d9f5,
        );
        let digits = "1234567890".repeat(8);
        check(&digits, 0x57ed_f4a2_2be3_c955);
    }

    #[test]
    fn texts_side_by_side_hash_as_alone() {
        let all: String = ('a'..='z').cycle().take(300).collect();
        let texts: Vec<&[u8]> = (0..300).map(|len| &all.as_bytes()[..len]).collect();
        let alone: Vec<u64> = texts.iter().map(|text| md5(text)).collect();
        assert_eq!(md5_each(&texts), alone);
    }
}
