//! One-off dynos with a terminal.

use crate::fixture::{Fixture, everybody, processes_with, wait_until};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// A terminal as a person would have it, with a session of its own on it.
struct Screen {
    leader: File,
    follower: OwnedFd,
    shown: Vec<u8>,
}

impl Screen {
    fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let leader = openpt(flags).unwrap();
        grantpt(&leader).unwrap();
        unlockpt(&leader).unwrap();
        let follower = ioctl_tiocgptpeer(&leader, flags).unwrap();
        fcntl_setfl(&leader, fcntl_getfl(&leader).unwrap() | OFlags::NONBLOCK).unwrap();
        let screen = Self {
            leader: leader.into(),
            follower,
            shown: Vec::new(),
        };
        screen.resize(24, 80);
        screen
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.follower, size).unwrap();
    }

    /// Starts a command with the screen as its controlling terminal.
    fn start(&self, command: &Command) -> Child {
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                session.env(name, value);
            }
        }
        let stream = || self.follower.try_clone().unwrap();
        session.stdin(stream()).stdout(stream()).stderr(stream());
        session.process_group(0).spawn().unwrap()
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.leader.write_all(bytes).unwrap();
    }

    fn wait_for(&mut self, text: &str) {
        wait_until(&format!("{text:?} on the screen"), || {
            let mut buffer = [0; 4096];
            if let Ok(count) = self.leader.read(&mut buffer) {
                self.shown.extend_from_slice(&buffer[..count]);
            }
            String::from_utf8_lossy(&self.shown).contains(text)
        });
    }

    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.follower).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

#[test]
fn a_terminal_with_sizes_job_control_and_restoring() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut screen = Screen::open();
        let mut child = screen.start(&fixture.run(&["bash --norc -i"]));
        screen.wait_for("$ ");
        assert!(!screen.is_cooked(), "{who:?}");

        screen.type_in(b"test -t 0 -a -t 1 -a -t 2 && echo is-a-$((40+2))-tty $TERM\r");
        screen.wait_for("is-a-42-tty vt100");
        screen.type_in(b"stty size\r");
        screen.wait_for("24 80");
        screen.resize(40, 132);
        // The signal may reach this test binary's other thread first, and so come after the bytes.
        screen.type_in(
            b"until [ \"$(stty size)\" = '40 132' ]; do sleep 0.05; done; echo resized-$((40+4))\r",
        );
        screen.wait_for("resized-44");

        // ^C reaches what runs in the foreground and not the shell.
        let sleep = format!("sleep {}", 800_000 + std::process::id());
        screen.type_in(format!("{sleep}\r").as_bytes());
        wait_until("the sleep", || processes_with(&sleep) == 1);
        screen.type_in(&[3]);
        screen.type_in(b"echo still-$((40+3))\r");
        screen.wait_for("still-43");
        screen.type_in(b"exit 9\r");
        assert_eq!(child.wait().unwrap().code(), Some(9), "{who:?}");
        assert!(screen.is_cooked(), "{who:?}");
    }
}

#[test]
fn a_terminal_inside_a_dyno() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut supervisor = fixture.launch("polite=1").spawn().unwrap();
        let client = fixture.client();
        let status = fixture.wait_for_status(&client, "a dyno", |status| {
            status.dynos.iter().all(|dyno| dyno.pid.is_some()) && !status.dynos.is_empty()
        });
        let pid = status.dynos[0].pid.unwrap();
        let mut screen = Screen::open();
        let mut child = screen.start(&fixture.inside(pid, &["bash", "--norc", "-i"]));
        screen.wait_for("$ ");
        assert!(!screen.is_cooked(), "{who:?}");
        screen.type_in(b"echo in $DYNO $TERM $(stty size)\r");
        screen.wait_for("in polite.1 vt100 24 80");
        screen.resize(40, 132);
        screen.type_in(
            b"until [ \"$(stty size)\" = '40 132' ]; do sleep 0.05; done; echo resized-$((40+4))\r",
        );
        screen.wait_for("resized-44");
        let sleep = format!("sleep {}", 900_000 + std::process::id());
        screen.type_in(format!("{sleep}\r").as_bytes());
        wait_until("the sleep", || processes_with(&sleep) == 1);
        screen.type_in(&[3]);
        screen.type_in(b"exit 9\r");
        assert_eq!(child.wait().unwrap().code(), Some(9), "{who:?}");
        assert!(screen.is_cooked(), "{who:?}");
        // The dyno took no notice.
        assert_eq!(client.status().unwrap().dynos[0].pid, Some(pid), "{who:?}");
        crate::running::signal(&supervisor, rustix::process::Signal::TERM);
        supervisor.wait().unwrap();
    }
}

#[test]
fn the_last_words_are_shown() {
    let fixture = Fixture::new(everybody()[0]);
    let mut screen = Screen::open();
    let mut child = screen.start(&fixture.run(&["head -c 30000 /dev/zero | cat -v; echo the-end"]));
    screen.wait_for("the-end");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn four_interrupts_end_what_ignores_them() {
    let fixture = Fixture::new(everybody()[0]);
    let mut screen = Screen::open();
    let script = "trap '' INT; stty -isig; echo deaf; while :; do sleep 0.1; done";
    let mut child = screen.start(&fixture.run(&[script]));
    screen.wait_for("deaf");
    screen.type_in(&[3, 3, 3, 3]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(screen.is_cooked());
}

#[test]
fn a_killed_dyno_leaves_a_good_terminal() {
    let fixture = Fixture::new(everybody()[0]);
    let mut screen = Screen::open();
    let mut child = screen.start(&fixture.run(&["stty raw -echo; echo raw; kill -KILL $$"]));
    screen.wait_for("raw");
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(screen.is_cooked());
}
