//! The `.deb` container (deb(5)): an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use crate::control::Paragraph;

/// Why a package could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// Reading failed, also where compressed data is damaged.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It is no package, or one of a kind nobody has seen.
    #[error("it is not a Debian package: {0}")]
    Format(&'static str),
    /// It is packed by a method that this program doesn't know.
    #[error("its part {0} is compressed by an unknown method")]
    Compression(String),
}

/// An open package.
#[derive(Debug)]
pub(crate) struct Deb {
    file: File,
    data: Member,
    /// What it says about itself.
    pub(crate) control: Control,
}

/// The control part: the control file, and the other files that dpkg keeps under `info`.
#[derive(Debug)]
pub(crate) struct Control {
    /// The control file's only paragraph, as text.
    pub(crate) text: String,
    /// Scripts, conffiles, md5sums, triggers …: name → mode and content.
    pub(crate) files: BTreeMap<String, (u32, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Member {
    name: String,
    start: u64,
    size: u64,
}

/// Control parts are a few kilobytes; this is where honesty ends.
const CONTROL_LIMIT: u64 = 64 << 20;

impl Deb {
    pub(crate) fn open(path: &Path) -> Result<Self, DebError> {
        let mut file = File::open(path).map_err(DebError::Read)?;
        let members = members(&mut file)?;
        let [version, rest @ ..] = members.as_slice() else {
            return Err(DebError::Format("it is empty"));
        };
        if version.name != "debian-binary" {
            return Err(DebError::Format("its first part is not debian-binary"));
        }
        let mut text = String::new();
        member(&mut file, version)?
            .take(16)
            .read_to_string(&mut text)
            .map_err(DebError::Read)?;
        if !text.starts_with("2.") {
            return Err(DebError::Format("its format version is not 2"));
        }
        // Parts whose names begin with an underscore may stand between and mean nothing here.
        let find = |prefix: &str| rest.iter().find(|member| member.name.starts_with(prefix));
        let control = find("control.tar").ok_or(DebError::Format("it has no control part"))?;
        let data = find("data.tar")
            .ok_or(DebError::Format("it has no data part"))?
            .clone();
        let control = Control::read(decompress(&mut file, control)?)?;
        Ok(Self {
            file,
            data,
            control,
        })
    }

    /// The files, as a tar stream.
    pub(crate) fn data(&mut self) -> Result<impl Read, DebError> {
        decompress(&mut self.file, &self.data)
    }
}

impl Control {
    fn read(tar: impl Read) -> Result<Self, DebError> {
        let mut text = None;
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(tar.take(CONTROL_LIMIT));
        for entry in archive.entries().map_err(DebError::Read)? {
            let mut entry = entry.map_err(DebError::Read)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path_bytes().into_owned();
            let name =
                String::from_utf8_lossy(path.strip_prefix(b"./").unwrap_or(&path)).into_owned();
            if name.contains('/') || name.contains('.') || name.is_empty() {
                return Err(DebError::Format(
                    "a file of its control part has an unusable name",
                ));
            }
            let mode = entry.header().mode().map_err(DebError::Read)? & 0o777;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(DebError::Read)?;
            if name == "control" {
                let content = String::from_utf8(content)
                    .map_err(|_| DebError::Format("its control file is not UTF-8"))?;
                text = Some(content);
            } else {
                files.insert(name, (mode, content));
            }
        }
        let text = text.ok_or(DebError::Format("it has no control file"))?;
        Ok(Self { text, files })
    }

    /// The control file.
    pub(crate) fn paragraph(&self) -> Paragraph<'_> {
        Paragraph::new(&self.text)
    }

    /// The lines of one of the other files, if the package has it.
    pub(crate) fn lines(&self, file: &str) -> impl Iterator<Item = &str> {
        self.files
            .get(file)
            .and_then(|(_, content)| std::str::from_utf8(content).ok())
            .unwrap_or_default()
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
    }
}

fn members(file: &mut File) -> Result<Vec<Member>, DebError> {
    let length = file.metadata().map_err(DebError::Read)?.len();
    let mut magic = [0; 8];
    read_exact(file, &mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(DebError::Format("it is not an ar archive"));
    }
    let mut members = Vec::new();
    let mut at = 8;
    while at < length {
        let mut header = [0; 60];
        file.seek(SeekFrom::Start(at)).map_err(DebError::Read)?;
        read_exact(file, &mut header)?;
        let text = std::str::from_utf8(&header)
            .map_err(|_| DebError::Format("an ar header is damaged"))?;
        if !text.ends_with("`\n") {
            return Err(DebError::Format("an ar header is damaged"));
        }
        let name = text[..16].trim_end().trim_end_matches('/').to_owned();
        let size: u64 = text[48..58]
            .trim_end()
            .parse()
            .map_err(|_| DebError::Format("an ar header has no size"))?;
        let start = at + 60;
        let end = start.checked_add(size).filter(|end| *end <= length);
        let end = end.ok_or(DebError::Format("it is cut off"))?;
        members.push(Member { name, start, size });
        at = end + (end & 1);
    }
    Ok(members)
}

fn read_exact(file: &mut File, buffer: &mut [u8]) -> Result<(), DebError> {
    file.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => DebError::Format("it is cut off"),
        _ => DebError::Read(error),
    })
}

fn member<'f>(file: &'f mut File, member: &Member) -> Result<Take<&'f mut File>, DebError> {
    file.seek(SeekFrom::Start(member.start))
        .map_err(DebError::Read)?;
    Ok(file.take(member.size))
}

fn decompress<'f>(file: &'f mut File, part: &Member) -> Result<Box<dyn Read + 'f>, DebError> {
    let raw = BufReader::with_capacity(128 * 1024, member(file, part)?);
    match part.name.rsplit_once(".tar").map(|(_, method)| method) {
        Some("") => Ok(Box::new(raw)),
        Some(".gz") => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(raw))),
        Some(".xz") => Ok(Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(
            raw,
        ))),
        Some(".zst") => Ok(Box::new(
            zstd::Decoder::with_buffer(raw).map_err(DebError::Read)?,
        )),
        _ => Err(DebError::Compression(part.name.clone())),
    }
}

#[cfg(test)]
#[path = "deb_tests.rs"]
mod tests;
