//! Tars made field by field, so that they can say what no writer would.

const BLOCK: usize = 512;

/// An entry of this type (`0` a file, `5` a folder, `2` a link …), its header and its content.
///
/// # Panics
/// When a name does not fit into its field.
pub fn tar_entry(kind: u8, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    tar_entry_of(kind, name, link, content.len() as u64, content)
}

/// The same with a length that need not be the content's.
///
/// # Panics
/// When a name does not fit into its field.
pub fn tar_entry_of(kind: u8, name: &str, link: &str, length: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0_u8; BLOCK];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    assert!(name.len() <= 100 && link.len() <= 100, "{name} {link}");
    put(0, name.as_bytes());
    put(100, b"0000755");
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{length:011o}").as_bytes());
    put(136, b"00000000007");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    seal_headers(&mut bytes);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Gives every block that looks like a header the checksum that it should have.
pub fn seal_headers(tar: &mut [u8]) {
    let blocks = tar.chunks_exact_mut(BLOCK);
    for block in blocks.filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}

/// Entries and the end of an archive.
pub fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 2 * BLOCK]].concat()
}
