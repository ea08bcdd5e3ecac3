"""deploy/install-packages.sh: what it installs, and when it leaves the machine alone."""

import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "install-packages.sh"

# Stand-ins for the machine: "here" is installed, "leftover" was removed but kept its settings.
PROGRAMS = {
    "dpkg-query": """case "$4" in
  here) echo "installed " ;;
  leftover) echo "config-files " ;;
  rejected) echo "not-installed " ;;
  *) exit 1 ;;
esac""",
    "apt-get": 'echo "$*" >>"$CALLS"',
    "id": 'echo "$USER_ID"',
    "sudo": 'echo sudo >>"$CALLS"; "$@"',
}


class InstallPackages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        for name, body in PROGRAMS.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{body}\n")
            (self.programs / name).chmod(0o755)

    def install(self, *lists, user_id=0):
        """(exit code, calls of apt-get and sudo)."""
        files = []
        for number, text in enumerate(lists):
            files.append(self.folder / f"list{number}.txt")
            files[-1].write_text(text)
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "USER_ID": str(user_id),
        }
        done = subprocess.run(
            ["sh", SCRIPT, *files], env=environment, stdin=subprocess.DEVNULL, capture_output=True
        )
        return done.returncode, calls.read_text().splitlines()

    def test_all_there(self):
        self.assertEqual(self.install("here\n# missing\n", "here # again\n"), (0, []))

    def test_installs_what_is_missing_and_nothing_else(self):
        code, calls = self.install("here\nmissing\n", "leftover # words\nrejected\n")
        self.assertEqual(code, 0)
        self.assertEqual([call.split()[-1] for call in calls[:1]], ["update"])
        self.assertTrue(calls[1].endswith(" missing leftover rejected"), calls)
        self.assertEqual(len(calls), 2)

    def test_not_root(self):
        code, calls = self.install("missing\n", user_id=1000)
        self.assertEqual((code, calls.count("sudo")), (0, 2))

    def test_apt_fails(self):
        (self.programs / "apt-get").write_text("#!/bin/sh\nexit 100\n")
        self.assertEqual(self.install("missing\n")[0], 100)

    def test_no_list(self):
        self.assertEqual(self.install()[0], 2)


if __name__ == "__main__":
    unittest.main()
