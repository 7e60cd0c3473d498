import { gzipSync } from 'node:zlib';
import { tar } from '../../support/tar.ts';
import type { Case, ContextFile } from './case.ts';

const tree: Record<string, ContextFile> = {
  'src/a.txt': 'a',
  'src/b.md': 'b',
  'src/sub/c.txt': { content: 'c', mode: 0o600 },
  'src/sub/run': { content: '#!/bin/sh\n', mode: 0o755 },
  'src/link': { symlink: 'a.txt' },
  'src/empty': { folder: 0o700 },
};

const archive = tar([
  { path: 'inner', type: 'directory', mode: 0o750, uid: 5, gid: 6 },
  { path: 'inner/file', content: 'packed', uid: 5, gid: 6 },
  { path: 'inner/link', type: 'symlink', target: 'file' },
]);

/** What brings files in: COPY and ADD. */
export const copyCases: readonly Case[] = [
  { name: 'COPY of one file', isOld: true, files: tree, dockerfile: 'FROM busybox:test\nCOPY src/a.txt /x.txt\n' },
  {
    name: 'COPY of one file into a folder',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY src/a.txt /new/folder/\n',
  },
  { name: 'COPY of a folder’s contents', isOld: true, files: tree, dockerfile: 'FROM busybox:test\nCOPY src /dest\n' },
  {
    name: 'COPY of a folder that ends in a slash',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY src/ /dest/\n',
  },
  {
    name: 'COPY of everything',
    isOld: true,
    files: { ...tree, '.dockerignore': 'Dockerfile\n.dockerignore\n' },
    dockerfile: 'FROM busybox:test\nCOPY . /all\n',
  },
  {
    name: 'COPY of several',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY src/a.txt src/b.md src/sub /many/\n',
  },
  {
    name: 'COPY with wildcards around a dash, and sets',
    isOld: true,
    files: { 'app-1.txt': '1', 'app-x.txt': 'x', 'b{}.md': 'b' },
    dockerfile: 'FROM busybox:test\nCOPY app-[0-9].* *{*.md /one/\nCOPY app-*.txt /two/\nCOPY a??\\-[^0-9]* /three/\n',
  },
  {
    name: 'COPY with wildcards',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY src/*.txt src/?.md /w/\n',
  },
  {
    name: 'COPY in JSON form with a space',
    isOld: true,
    files: { 'a b.txt': 'x' },
    dockerfile: 'FROM busybox:test\nCOPY ["a b.txt", "/c d/"]\n',
  },
  {
    name: 'COPY relative to WORKDIR',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nWORKDIR /w\nCOPY src/a.txt .\nCOPY src/b.md sub/\n',
  },
  {
    name: 'COPY --chown by number',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY --chown=11:22 src /d\n',
  },
  {
    name: 'COPY --chown by a name of the image',
    files: tree,
    dockerfile:
      'FROM busybox:test\nRUN mkdir -p /etc && echo "app:x:501:502::/:/bin/sh" >> /etc/passwd && echo "grp:x:777:" >> /etc/group\nCOPY --chown=app src/a.txt /one\nCOPY --chown=app:grp src/a.txt /two\n',
  },
  {
    name: 'COPY --chown by names that the image does not have',
    files: tree,
    dockerfile:
      'FROM busybox:test\nRUN mkdir -p /etc && echo "own:x:501:502::/:/bin/sh" >> /etc/passwd && echo "grp:x:777:" >> /etc/group\nCOPY --chown=own:none src/a.txt /1\nCOPY --chown=none src/a.txt /2\nCOPY --chown=none:grp src/a.txt /3\nADD --chown=33:none src/a.txt /4\nCOPY --chown=33: src/a.txt /5\nCOPY --chown=:grp src/a.txt /6\nUSER none\nWORKDIR /7\n',
  },
  {
    name: 'COPY --chmod by number',
    files: tree,
    dockerfile:
      'FROM busybox:test\nCOPY --chmod=640 src /d\nCOPY --chmod=0755 src/a.txt /e\nCOPY --chmod=640 src/a.txt /f/g/\nCOPY --chmod=775 src /h\nCOPY --link --chmod=700 src/a.txt /i/j/k\n',
  },
  {
    name: 'COPY --chmod in letters',
    files: tree,
    dockerfile:
      'FROM busybox:test\nCOPY --chmod=u=rwX,go=rX src /d\nCOPY --chmod=a+x src/a.txt /e\nCOPY --chmod=go-rwx src /f/g\n',
  },
  {
    name: 'COPY --link',
    files: tree,
    dockerfile: 'FROM busybox:test\nRUN mkdir /d\nCOPY --link src /d/\nCOPY --link --chown=3:4 src/a.txt /x\n',
  },
  {
    name: 'COPY --exclude',
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY --exclude=*.md --exclude=sub/run src /d\n',
  },
  {
    name: 'COPY --from a stage, by name and by number',
    isOld: true,
    dockerfile:
      'FROM busybox:test AS one\nRUN mkdir -p /o/p && echo 1 > /o/p/f && chmod 600 /o/p/f\nFROM busybox:test\nCOPY --from=one /o /a\nCOPY --from=0 /o/p/f /b\n',
  },
  {
    name: 'COPY of what a folder holds leaves its owner and mode behind',
    dockerfile:
      'FROM busybox:test AS one\nRUN mkdir -p /o/p && touch /o/f && chown -R 5:6 /o && chmod 700 /o && chmod 1770 /o/p\nFROM busybox:test\nRUN mkdir -m 711 /c\nCOPY --from=one /o /a\nCOPY --from=one /o/p /b/p\nCOPY --from=one /o /c\nCOPY --from=one --chown=7:8 /o /d\nCOPY --link --from=one /o /e\nWORKDIR /w\nCOPY --from=one /o .\n',
  },
  { name: 'COPY --from an image', isOld: true, dockerfile: 'FROM scratch\nCOPY --from=busybox:test /bin/sh /sh\n' },
  {
    name: 'COPY over what is there',
    isOld: true,
    files: tree,
    dockerfile:
      'FROM busybox:test\nRUN mkdir -p /d/sub && echo old > /d/a.txt && echo keep > /d/sub/keep && chmod 711 /d/sub\nCOPY src /d\n',
  },
  {
    name: 'COPY through a link of the image',
    isOld: true,
    files: tree,
    dockerfile:
      'FROM busybox:test\nRUN mkdir /real && ln -s real /alias\nCOPY src/a.txt /alias/\nCOPY src/sub /alias/sub\n',
  },
  {
    name: 'COPY keeps links as links, and follows the one that is named',
    files: tree,
    dockerfile: 'FROM busybox:test\nCOPY src/link /one\nCOPY src /two\nCOPY src/link /three/\nCOPY src/li* /four/\n',
  },
  {
    name: 'COPY of hard links',
    files: { 'h/a': 'same', 'h/b': { hardlink: 'h/a' } },
    dockerfile: 'FROM busybox:test\nCOPY h /h\n',
  },
  {
    name: 'COPY as an unprivileged USER still is root’s',
    isOld: true,
    files: tree,
    dockerfile: 'FROM busybox:test\nUSER 1000\nCOPY src/a.txt /\n',
  },
  {
    name: 'COPY of here-documents',
    dockerfile:
      'FROM busybox:test\nARG A=1\nCOPY <<one <<-"two" /h/\n a $A\none\n\t\tb $A\ntwo\nCOPY --chmod=600 <<EOF /single\nx\nEOF\n',
  },
  {
    name: 'ADD of an archive unpacks it',
    isOld: true,
    files: { 'p.tar': { content: archive }, 'z.tar.gz': { content: gzipSync(archive) } },
    dockerfile: 'FROM busybox:test\nADD p.tar /one/\nADD z.tar.gz /two\n',
  },
  {
    name: 'ADD --chown of an archive',
    files: { 'p.tar': { content: archive } },
    dockerfile: 'FROM busybox:test\nADD --chown=9:9 p.tar /one/\n',
  },
  {
    name: 'COPY of an archive does not',
    isOld: true,
    files: { 'p.tar': { content: archive } },
    dockerfile: 'FROM busybox:test\nCOPY p.tar /one/\n',
  },
  {
    name: 'ADD --unpack decides',
    files: { 'p.tar': { content: archive } },
    dockerfile: 'FROM busybox:test\nADD --unpack=false p.tar /one/\nADD --unpack=true p.tar /two/\n',
  },
  {
    name: 'ADD of a file that looks like none',
    isOld: true,
    files: { 'x.tar.gz': 'no archive' },
    dockerfile: 'FROM busybox:test\nADD x.tar.gz /d/\n',
  },
  {
    name: '.dockerignore with exceptions',
    isOld: true,
    files: { ...tree, '.dockerignore': '# comment\n**/*.txt\n!src/a.txt\nsrc/empty\nDockerfile\n.dockerignore\n' },
    dockerfile: 'FROM busybox:test\nCOPY . /all\n',
  },
  {
    name: '.dockerignore of the Dockerfile wins',
    files: { ...tree, '.dockerignore': 'src\n', 'Dockerfile.dockerignore': '**/*.md\nDockerfile*\n.dockerignore\n' },
    dockerfile: 'FROM busybox:test\nCOPY . /all\n',
  },
  {
    name: 'special bits and modes',
    files: { s: { content: 'x', mode: 0o4755 }, t: { folder: 0o1777 }, 'u/v': { content: 'x', mode: 0o400 } },
    dockerfile: 'FROM busybox:test\nCOPY . /all\n',
  },
  {
    name: 'a file in a folder’s place, by a fresh stage',
    isOld: true,
    dockerfile: 'FROM busybox:test AS a\nRUN mkdir /x && echo f > /x/f\nFROM a\nRUN rm -r /x && echo file > /x\n',
  },
];
