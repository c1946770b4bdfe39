"""A journal that was restored from a backup is gone on from knowingly, and no epoch is used twice."""

import shutil


def test_an_older_journal_is_accepted_and_epochs_go_on(make_system):
    """Refused at first; after `journal accept` the next epoch is above every one that was ever seen."""
    system = make_system(names=["lic-a"])
    system.create_journal()
    system.start_server("lic-a")
    system.servers["lic-a"].kill()
    backup = system.folder / "backup"
    backup.mkdir()
    for file in system.folder.glob("acme.db*"):
        shutil.copy(file, backup)
    for _ in range(2):
        system.start_server("lic-a")
        system.servers["lic-a"].kill()
    for file in system.folder.glob("acme.db*"):
        file.unlink()
    for file in backup.iterdir():
        (system.folder / file.name).write_bytes(file.read_bytes())
    for file in system.folder.glob("acme.db-*"):
        file.unlink()

    refused = system.licserver("check", "lic-a")
    assert refused.returncode == 2
    assert "journal accept" in refused.stderr
    accepted = system.licserver("journal accept", "lic-a")
    assert accepted.returncode == 0, accepted.stderr
    assert system.start_server("lic-a")["epoch"] == 4
