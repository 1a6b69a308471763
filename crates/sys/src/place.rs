//! Where a file is: a directory that this process has open, and a name in it.
//!
//! A path is resolved one directory at a time, by descriptors. A symbolic link is followed only if
//! nobody could have put it there except root and the user in whose name the path is resolved. So
//! no other user can lead this process to another file, neither before nor while it opens the
//! file, and what was checked is what is opened.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, getegid, geteuid, unlinkat};

use crate::privileges::Privileges;

/// The maximum number of symbolic links in a path, as in path_resolution(7).
const LINKS_MAX: usize = 40;

/// The maximum length of a socket's path in bytes. This is the size of `sun_path` in unix(7) on
/// Linux, without the final zero byte.
pub const SOCKET_PATH_MAX: usize = 107;

const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Who, besides root, may change a path without misleading this process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// The effective user and group of this process.
    Own,
    /// Groups that this user is not in. The user is not trusted.
    NotThisUser(&'a Privileges),
}

impl Trust<'_> {
    fn user(self, uid: u32) -> bool {
        match self {
            _ if uid == 0 => true,
            Trust::Own => uid == geteuid().as_raw(),
            Trust::NotThisUser(_) => false,
        }
    }

    fn group(self, gid: u32) -> bool {
        match self {
            Trust::Own => gid == 0 || gid == getegid().as_raw(),
            Trust::NotThisUser(user) => user.group.gid != gid && !user.supplementary.contains(&gid),
        }
    }

    /// Returns who may change the entries of a directory.
    fn writers(self, directory: &Entry) -> Writers {
        let others = directory.mode & OTHERS_WRITE != 0
            || (directory.mode & GROUP_WRITE != 0 && !self.group(directory.gid));
        match (self.user(directory.uid), others, directory.mode & STICKY != 0) {
            (true, false, _) => Writers::Trusted,
            (true, true, true) => Writers::OwnersOfEntries,
            (true, true, false) | (false, _, _) => Writers::Any,
        }
    }
}

/// Who may change the entries of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writers {
    Trusted,
    /// Others may create entries, and replace only their own.
    OwnersOfEntries,
    Any,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Location {
    /// To a name in a directory.
    Place(Place),
    /// To a descriptor of this process, such as `/dev/stderr` does.
    Descriptor(RawFd),
}

/// What is done with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLink {
    Follow,
    Keep,
}

/// A name in an open directory. There need not be a file of this name.
#[derive(Debug)]
pub(crate) struct Place {
    directory: Directory,
    name: OsString,
}

/// An open directory on the way to a place.
#[derive(Debug)]
struct Directory {
    fd: OwnedFd,
    entry: Entry,
    writers: Writers,
    /// Whether nobody else can put another directory in its place.
    is_fixed: bool,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: FileKind,
    /// The permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    gid: u32,
    /// The number of names (hard links).
    pub(crate) names: u64,
    /// The device and the inode.
    pub(crate) identity: (u64, u64),
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Regular,
    Directory,
    Link,
    Fifo,
    Socket,
    CharacterDevice,
    BlockDevice,
    Unknown,
}

impl FileKind {
    fn words(self) -> &'static str {
        match self {
            FileKind::Regular => "a file",
            FileKind::Directory => "a directory",
            FileKind::Link => "a symbolic link",
            FileKind::Fifo => "a FIFO",
            FileKind::Socket => "a socket",
            FileKind::CharacterDevice => "a character device",
            FileKind::BlockDevice => "a block device",
            FileKind::Unknown => "an unknown kind of file",
        }
    }
}

impl std::fmt::Display for Entry {
    /// Writes for example `a FIFO of uid 33`. Names of users are not looked up, because a lookup
    /// can wait for a network.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of uid {}", self.kind.words(), self.uid)
    }
}

impl From<FileStat> for Entry {
    fn from(found: FileStat) -> Entry {
        let kind = match found.st_mode & libc::S_IFMT {
            libc::S_IFREG => FileKind::Regular,
            libc::S_IFDIR => FileKind::Directory,
            libc::S_IFLNK => FileKind::Link,
            libc::S_IFIFO => FileKind::Fifo,
            libc::S_IFSOCK => FileKind::Socket,
            libc::S_IFCHR => FileKind::CharacterDevice,
            libc::S_IFBLK => FileKind::BlockDevice,
            _ => FileKind::Unknown,
        };
        let (mode, names, identity) = platform::numbers(&found);
        Entry { kind, mode, uid: found.st_uid, gid: found.st_gid, names, identity }
    }
}

impl Entry {
    /// Returns what an open descriptor refers to.
    pub(crate) fn of(fd: impl AsFd) -> io::Result<Entry> {
        Ok(fstat(fd)?.into())
    }
}

impl Directory {
    fn root(trust: Trust<'_>) -> io::Result<Directory> {
        let flags = platform::search_flags();
        let fd = nix::fcntl::open("/", flags, Mode::empty())?;
        Directory::of(fd, trust, true)
    }

    fn of(fd: OwnedFd, trust: Trust<'_>, is_fixed: bool) -> io::Result<Directory> {
        let entry = Entry::of(&fd)?;
        let writers = trust.writers(&entry);
        Ok(Directory { fd, entry, writers, is_fixed })
    }

    /// Returns whether nobody else can replace this entry of the directory.
    fn keeps(&self, entry: &Entry, trust: Trust<'_>) -> bool {
        self.is_fixed
            && match self.writers {
                Writers::Trusted => true,
                Writers::OwnersOfEntries => trust.user(entry.uid),
                Writers::Any => false,
            }
    }

    fn open(&self, name: &OsStr, trust: Trust<'_>) -> io::Result<Directory> {
        let fd = openat(&self.fd, name, platform::search_flags(), Mode::empty())?;
        let next = Directory::of(fd, trust, self.is_fixed)?;
        let is_fixed = if name == ".." { self.is_fixed } else { self.keeps(&next.entry, trust) };
        Ok(Directory { is_fixed, ..next })
    }

    fn entry(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found.into())),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Location {
    /// Resolves a path, and follows a symbolic link at its end. All its directories must exist.
    ///
    /// # Errors
    ///
    /// If a directory does not exist or may not be searched, or if a symbolic link could have been
    /// put there by somebody who is not trusted.
    pub(crate) fn find(path: &Path, trust: Trust<'_>) -> io::Result<Location> {
        Location::resolve(path, trust, LastLink::Follow)
    }

    fn resolve(path: &Path, trust: Trust<'_>, last: LastLink) -> io::Result<Location> {
        let path = std::path::absolute(path)?;
        let mut names: VecDeque<OsString> = names(&path).collect();
        let mut directory = Directory::root(trust)?;
        // The path of `directory`, for messages and to recognize the descriptors of this process.
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            if name == ".." {
                directory = directory.open(&name, trust)?;
                resolved.pop();
                continue;
            }
            let entry = match directory.entry(&name)? {
                None if names.is_empty() => return Ok(Place { directory, name }.into()),
                None => return Err(Errno::ENOENT.into()),
                Some(entry) => entry,
            };
            let is_kept = entry.kind != FileKind::Link || last == LastLink::Keep;
            if names.is_empty() && is_kept {
                return Ok(Place { directory, name }.into());
            }
            if entry.kind != FileKind::Link {
                directory = directory.open(&name, trust)?;
                resolved.push(&name);
                continue;
            }
            if let Some(fd) = platform::descriptor(&resolved, &name) {
                return Ok(Location::Descriptor(fd));
            }
            if !directory.keeps(&entry, trust) {
                return Err(io::Error::other(format!(
                    "{} is {entry}, which others can change; remove it",
                    resolved.join(&name).display()
                )));
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::ELOOP.into());
            }
            let target = PathBuf::from(readlinkat(&directory.fd, name.as_os_str())?);
            if target.is_absolute() {
                directory = Directory::root(trust)?;
                resolved = PathBuf::from("/");
            }
            for name in self::names(&target).collect::<Vec<_>>().into_iter().rev() {
                names.push_front(name);
            }
        }
        // The path is `/`, or ends with `..`.
        Ok(Place { directory, name: OsString::from(".") }.into())
    }
}

impl From<Place> for Location {
    fn from(place: Place) -> Location {
        Location::Place(place)
    }
}

impl Place {
    /// Resolves a path, and does not follow a symbolic link at its end.
    ///
    /// # Errors
    ///
    /// The errors of [`Location::find`], or if the path leads into a descriptor of this process.
    pub(crate) fn find(path: &Path, trust: Trust<'_>) -> io::Result<Place> {
        match Location::resolve(path, trust, LastLink::Keep)? {
            Location::Place(place) => Ok(place),
            Location::Descriptor(fd) => {
                Err(io::Error::other(format!("it leads to descriptor {fd} of this process")))
            }
        }
    }

    /// Returns whether only root and those who are trusted can create, replace or remove what
    /// stands at the place.
    pub(crate) fn is_protected(&self) -> bool {
        self.directory.is_fixed && self.directory.writers == Writers::Trusted
    }

    /// Returns whether this user can replace neither what stands at the path nor one of its
    /// directories, and nobody else can whom root does not trust.
    pub(crate) fn is_protected_from(user: &Privileges, path: &Path) -> bool {
        Place::find(path, Trust::NotThisUser(user)).is_ok_and(|place| place.is_protected())
    }

    /// Returns a path for bind(2) and connect(2), which resolve it once more. `path` is the one at
    /// which the place was found. If others could replace one of its directories, the returned path
    /// leads through the open directory instead (Linux, if `/proc` is mounted and the name is not too
    /// long). It is not returned in other cases, because it is what ss(8) and lsof(8) show.
    pub(crate) fn socket_path<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        let directory = (!self.directory.is_fixed).then(|| platform::path_of(&self.directory.fd));
        let through = directory.flatten().map(|directory| directory.join(&self.name));
        through
            .filter(|path| path.as_os_str().len() <= SOCKET_PATH_MAX)
            .map_or(path.into(), Cow::from)
    }

    /// Returns what stands at the place, if anything.
    pub(crate) fn entry(&self) -> io::Result<Option<Entry>> {
        self.directory.entry(&self.name)
    }

    /// Opens the file at the place. Never waits, follows no link, and does not make a terminal the
    /// controlling one. The descriptor is close-on-exec.
    pub(crate) fn open(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        let never = OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(mode as libc::mode_t);
        let fd = openat(&self.directory.fd, self.name.as_os_str(), flags | never, mode)?;
        Ok(File::from(fd))
    }

    /// Creates a file at the place. Fails if anything stands there.
    pub(crate) fn create(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        self.open(flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
    }

    /// Checks a file that was opened at this place. At a place that others can change, the file
    /// must be a regular file with one name that belongs to the user of this process, to root or
    /// to the owner of the directory. Everything else could have been put there to mislead this
    /// process.
    pub(crate) fn check(&self, file: &File) -> io::Result<Entry> {
        let entry = Entry::of(file)?;
        if self.is_protected() {
            return Ok(entry);
        }
        let remove = "in a directory that others can change; remove it";
        let owners = [0, geteuid().as_raw(), self.directory.entry.uid];
        if entry.kind != FileKind::Regular || !owners.contains(&entry.uid) {
            return Err(io::Error::other(format!("it is {entry} {remove}")));
        }
        if entry.names > 1 {
            let names = entry.names;
            return Err(io::Error::other(format!(
                "it is {entry} with {names} names (hard links) {remove}"
            )));
        }
        Ok(entry)
    }

    /// Returns another name in the same directory.
    pub(crate) fn sibling(&self, suffix: &str) -> io::Result<Place> {
        let mut name = self.name.clone();
        name.push(suffix);
        let Directory { fd, entry, writers, is_fixed } = &self.directory;
        let (fd, entry, writers, is_fixed) = (fd.try_clone()?, *entry, *writers, *is_fixed);
        Ok(Place { directory: Directory { fd, entry, writers, is_fixed }, name })
    }

    /// Replaces what stands at the other place, in the same directory, by what stands here.
    pub(crate) fn rename_to(&self, other: &Place) -> io::Result<()> {
        let (from, to) = (self.name.as_os_str(), other.name.as_os_str());
        Ok(renameat(&self.directory.fd, from, &other.directory.fd, to)?)
    }

    /// Removes what stands at the place, unless it is a directory.
    pub(crate) fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.directory.fd, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Changes the owner of what stands at the place, which is not followed if it is a link.
    pub(crate) fn give_to(&self, user: &Privileges) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(user.user.uid), Gid::from_raw(user.group.gid));
        let (name, flags) = (self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        Ok(fchownat(&self.directory.fd, name, Some(uid), Some(gid), flags)?)
    }
}

/// Opens what a path leads to, without access to its contents.
#[cfg(all(target_os = "linux", feature = "sandbox"))]
pub(crate) fn open_path(path: &Path, trust: Trust<'_>) -> io::Result<(File, Entry)> {
    match Location::find(path, trust)? {
        Location::Place(place) => {
            let file = place.open(OFlag::O_PATH, 0)?;
            let entry = Entry::of(&file)?;
            Ok((file, entry))
        }
        Location::Descriptor(fd) => {
            Err(io::Error::other(format!("it leads to descriptor {fd} of this process")))
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}

/// Opens directories without the permission to read them, and recognizes links to descriptors.
#[cfg(target_os = "linux")]
mod platform {
    use std::ffi::OsStr;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::path::{Path, PathBuf};

    use nix::fcntl::OFlag;
    use nix::sys::stat::FileStat;

    pub(super) fn search_flags() -> OFlag {
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
    }

    /// Returns the permission bits, the number of names, and the identity of a file.
    #[expect(clippy::useless_conversion, reason = "the types differ between architectures")]
    pub(super) fn numbers(found: &FileStat) -> (u32, u64, (u64, u64)) {
        let identity = (u64::from(found.st_dev), u64::from(found.st_ino));
        (u32::from(found.st_mode) & 0o7777, u64::from(found.st_nlink), identity)
    }

    /// Returns the descriptor of this process that an entry of `/proc/PID/fd` leads to.
    pub(super) fn descriptor(directory: &Path, name: &OsStr) -> Option<RawFd> {
        let own = format!("/proc/{}/fd", std::process::id());
        (directory == Path::new(&own)).then(|| name.to_str()?.parse().ok()).flatten()
    }

    /// Returns a path that leads to an open directory, whatever happens to its name.
    pub(super) fn path_of(directory: &OwnedFd) -> Option<PathBuf> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        path.exists().then_some(path)
    }
}

/// Opens directories for searching. Links to descriptors are devices there.
#[cfg(not(target_os = "linux"))]
mod platform {
    use std::ffi::OsStr;
    use std::os::fd::{OwnedFd, RawFd};
    use std::path::{Path, PathBuf};

    use nix::fcntl::OFlag;
    use nix::sys::stat::FileStat;

    pub(super) fn search_flags() -> OFlag {
        let search = OFlag::from_bits_retain(libc::O_SEARCH);
        search | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
    }

    /// Returns the permission bits, the number of names, and the identity of a file.
    #[expect(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "the types differ between systems"
    )]
    pub(super) fn numbers(found: &FileStat) -> (u32, u64, (u64, u64)) {
        let device = u64::try_from(found.st_dev).unwrap_or(0);
        let identity = (device, u64::try_from(found.st_ino).unwrap_or(0));
        (u32::from(found.st_mode) & 0o7777, u64::from(found.st_nlink), identity)
    }

    pub(super) fn descriptor(_directory: &Path, _name: &OsStr) -> Option<RawFd> {
        None
    }

    pub(super) fn path_of(_directory: &OwnedFd) -> Option<PathBuf> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::privileges::{Group, User};

    fn user() -> Privileges {
        let user = User { name: "4711".into(), uid: 4711, primary: None, home: None };
        let group = Group { name: "4712".into(), gid: 4712 };
        Privileges { user, group, supplementary: vec![4712, 4713] }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    }

    /// Returns whether only root can change what stands at a path, and the links that lead to it.
    fn is_protected(path: &Path) -> bool {
        Place::find(path, Trust::NotThisUser(&user())).is_ok_and(|place| place.is_protected())
    }

    #[test]
    fn a_path_is_protected_only_if_root_alone_can_replace_its_parts() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can create directories of other users");
            return;
        }
        let temporary = tempfile::tempdir().expect("a directory");
        let root = temporary.path();
        let (safe, theirs) = (root.join("safe"), root.join("theirs"));
        for directory in [&safe, &theirs, &theirs.join("inner")] {
            fs::create_dir(directory).expect("created");
            mode(directory, 0o755);
        }
        chown(&theirs, Some(4711), None).expect("changed");
        symlink(&theirs, safe.join("link")).expect("linked");
        symlink("../safe", safe.join("up")).expect("linked");
        symlink(&safe, theirs.join("escape")).expect("linked");
        symlink("loop", safe.join("loop")).expect("linked");
        assert!(is_protected(&safe.join("x")));
        assert!(is_protected(&safe.join("up/up/x")));
        assert!(!is_protected(&theirs.join("x")));
        assert!(!is_protected(&theirs.join("inner/x")));
        assert!(!is_protected(&theirs.join("escape/x")));
        assert!(!is_protected(&safe.join("link/x")));
        assert!(!is_protected(&safe.join("link/escape/x")));
        assert!(!is_protected(&safe.join("loop/x")));
        assert!(!is_protected(Path::new("/tmp/x")));
        assert!(!is_protected(&safe.join("none/x")), "no such directory");
        for (group, bits, expected) in [
            (4713, 0o775, false),
            (4714, 0o775, true),
            (4713, 0o755, true),
            (4714, 0o757, false),
            (4714, 0o1777, false),
        ] {
            chown(&safe, Some(0), Some(group)).expect("changed");
            mode(&safe, bits);
            assert_eq!(is_protected(&safe.join("x")), expected, "{group} {bits:o}");
        }
    }

    /// Returns the file that a path leads to, or why it leads nowhere.
    fn follow(path: &Path) -> String {
        match Location::find(path, Trust::Own) {
            Ok(Location::Place(place)) => match place.open(OFlag::O_RDONLY, 0) {
                Ok(file) => io::read_to_string(file).expect("readable"),
                Err(error) => error.to_string(),
            },
            Ok(Location::Descriptor(_fd)) => "a descriptor".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn links_are_followed_only_in_directories_that_others_cannot_write_to() {
        let temporary = tempfile::tempdir().expect("a directory");
        let root = temporary.path();
        let (own, open) = (root.join("own"), root.join("open"));
        for directory in [&own, &open, &open.join("inner")] {
            fs::create_dir(directory).expect("created");
            fs::write(directory.join("file"), "text").expect("written");
            symlink("file", directory.join("link")).expect("linked");
            symlink("../own", directory.join("up")).expect("linked");
        }
        symlink(&own, open.join("inner").join("absolute")).expect("linked");
        mode(&open, 0o777);
        assert_eq!(follow(&own.join("link")), "text");
        assert_eq!(follow(&own.join("up/up/link")), "text");
        assert_eq!(follow(&own.join("../open/file")), "text");
        assert_eq!(follow(&open.join("inner/file")), "text");
        let uid = geteuid();
        for link in ["link", "up/file", "inner/link", "inner/up/file", "inner/absolute/file"] {
            let refused = follow(&open.join(link));
            let expected = format!("is a symbolic link of uid {uid}, which others can change");
            assert!(refused.contains(&expected), "{link}: {refused}");
        }
        // In a sticky directory, others can replace only what belongs to them.
        mode(&open, 0o1777);
        assert_eq!(follow(&open.join("up/file")), "text");
        if geteuid().is_root() {
            std::os::unix::fs::lchown(open.join("up"), Some(4711), None).expect("changed");
            assert!(follow(&open.join("up/file")).contains("a symbolic link of uid 4711"));
        }
    }

    #[test]
    fn a_directory_that_is_replaced_while_it_is_open_does_not_mislead() {
        let temporary = tempfile::tempdir().expect("a directory");
        let (first, second) = (temporary.path().join("first"), temporary.path().join("second"));
        fs::create_dir(&first).expect("created");
        fs::create_dir(&second).expect("created");
        let place = Place::find(&first.join("x"), Trust::Own).expect("resolved");
        fs::rename(&first, temporary.path().join("moved")).expect("renamed");
        symlink(&second, &first).expect("linked");
        place.create(OFlag::O_WRONLY, 0o600).expect("created");
        assert!(temporary.path().join("moved/x").exists());
        assert!(!second.join("x").exists());
    }

    #[test]
    fn paths_of_descriptors_are_recognized() {
        let temporary = tempfile::tempdir().expect("a directory");
        let file = File::create(temporary.path().join("file")).expect("created");
        let link = temporary.path().join("link");
        symlink("/dev/stderr", &link).expect("linked");
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        if cfg!(target_os = "linux") {
            for path in ["/dev/stdout", "/dev/fd/2", &own, link.to_str().expect("text")] {
                assert_eq!(follow(Path::new(path)), "a descriptor", "{path}");
            }
            assert!(follow(Path::new("/proc/1/fd/1")) != "a descriptor");
        }
    }
}
