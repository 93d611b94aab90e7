//! The user that the group runs as.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use nix::sys::prctl::set_keepcaps;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setuid};
use pgskein_config::Settings;

use super::error::StartError;
use crate::sys::capabilities;

/// The user that the group runs as.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub uid: Uid,
    /// Who to become, when started as root.
    switch: Option<Switch>,
}

#[derive(Clone, Debug)]
struct Switch {
    name: String,
    gid: Gid,
}

impl Account {
    /// Finds out whom to run as.
    ///
    /// # Errors
    ///
    /// [`StartError`] when root is not told whom to become, or to become
    /// somebody unknown or root.
    pub(crate) fn choose(settings: &Settings) -> Result<Self, StartError> {
        let name = &settings.user;
        let uid = geteuid();
        if !uid.is_root() {
            if !name.is_empty() && !is_named(uid, name) {
                log::warn!("user = {name} is ignored, because pgskein was not started as root");
            }
            return Ok(Self { uid, switch: None });
        }
        if name.is_empty() {
            return Err(StartError::RootWithoutUser);
        }
        let user = User::from_name(name).ok().flatten();
        let Some(user) = user else {
            return Err(StartError::UnknownUser { name: name.clone() });
        };
        if user.uid.is_root() {
            return Err(StartError::RootWithoutUser);
        }
        Ok(Self {
            uid: user.uid,
            switch: Some(Switch {
                name: user.name,
                gid: user.gid,
            }),
        })
    }

    /// Becomes the user, for good.
    ///
    /// With `net_bind_service`, ports under 1024 can still be bound.
    ///
    /// # Errors
    ///
    /// [`StartError::SwitchUser`].
    pub(crate) fn become_user(&self, net_bind_service: bool) -> Result<(), StartError> {
        let Some(Switch { name, gid }) = &self.switch else {
            return Ok(());
        };
        self.switch_to(name, *gid, net_bind_service)
            .map_err(|cause| StartError::SwitchUser {
                name: name.clone(),
                cause,
            })
    }

    /// Makes the folders above `path` and gives to the user those that were
    /// not there.
    ///
    /// # Errors
    ///
    /// [`StartError::Make`].
    pub(crate) fn make_folders_above(&self, path: &Path) -> Result<(), StartError> {
        let missing: Vec<_> = path
            .ancestors()
            .skip(1)
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)
                .and_then(|()| self.give(folder))
                .map_err(|cause| StartError::Make {
                    path: folder.to_owned(),
                    cause,
                })?;
        }
        Ok(())
    }

    /// Makes an empty file of the user's at `path` unless there is something,
    /// for folders where only root can make one.
    ///
    /// # Errors
    ///
    /// [`StartError::Make`].
    pub(crate) fn make_file(&self, path: &Path) -> Result<(), StartError> {
        if self.switch.is_none() {
            return Ok(());
        }
        // Never through a link that somebody else has put there.
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path);
        let given = match made {
            Ok(_) => self.give(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        };
        given.map_err(|cause| StartError::Make {
            path: path.to_owned(),
            cause,
        })
    }

    /// Whether the user is another one than who has started the program.
    pub(crate) fn is_switched(&self) -> bool {
        self.switch.is_some()
    }

    /// Gives something that root has just made to the user.
    ///
    /// # Errors
    ///
    /// The error of `chown(2)`.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        match &self.switch {
            Some(Switch { gid, .. }) => chown(path, Some(self.uid.as_raw()), Some(gid.as_raw())),
            None => Ok(()),
        }
    }

    fn switch_to(&self, name: &str, gid: Gid, net_bind_service: bool) -> io::Result<()> {
        let name = std::ffi::CString::new(name)?;
        initgroups(&name, gid)?;
        setgid(gid)?;
        set_keepcaps(net_bind_service)?;
        setuid(self.uid)?;
        set_keepcaps(false)?;
        if net_bind_service {
            capabilities::keep(true)?;
        }
        Ok(())
    }
}

fn is_named(uid: Uid, name: &str) -> bool {
    let user = User::from_uid(uid).ok().flatten();
    user.is_some_and(|user| user.name == name)
}
