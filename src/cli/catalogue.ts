import type { Command } from './command.ts';

/** A command as listed; its code is loaded only when it is used. */
export interface Entry {
  summary: string;
  /** Not shown in help, completion or manual. */
  hidden?: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: each command has option values of its own
  load(): Promise<{ default: Command<any> }>;
}

const run: Entry = { summary: 'Create and run a new container from an image', load: () => import('./commands/run.ts') };
const create: Entry = { summary: 'Create a new container', load: () => import('./commands/create.ts') };
const start: Entry = { summary: 'Start one or more stopped containers', load: () => import('./commands/start.ts') };
const attach: Entry = {
  summary: 'Attach local standard input, output, and error streams to a running container',
  load: () => import('./commands/attach.ts'),
};
const exec: Entry = { summary: 'Execute a command in a running container', load: () => import('./commands/exec.ts') };
const logs: Entry = { summary: 'Fetch the logs of a container', load: () => import('./commands/logs.ts') };
const wait: Entry = {
  summary: 'Block until one or more containers stop, then print their exit codes',
  load: () => import('./commands/wait.ts'),
};
const stop: Entry = { summary: 'Stop one or more running containers', load: () => import('./commands/stop.ts') };
const kill: Entry = { summary: 'Kill one or more running containers', load: () => import('./commands/kill.ts') };
const restart: Entry = { summary: 'Restart one or more containers', load: () => import('./commands/restart.ts') };
const pause: Entry = {
  summary: 'Pause all processes within one or more containers',
  load: () => import('./commands/pause.ts'),
};
const unpause: Entry = {
  summary: 'Unpause all processes within one or more containers',
  load: () => import('./commands/unpause.ts'),
};
const rename: Entry = { summary: 'Rename a container', load: () => import('./commands/rename.ts') };
const rm: Entry = { summary: 'Remove one or more containers', load: () => import('./commands/rm.ts') };
const ps: Entry = { summary: 'List containers', load: () => import('./commands/ps.ts') };
const inspect: Entry = {
  summary: 'Return low-level information on containers, images, volumes and networks',
  load: () => import('./commands/inspect.ts'),
};
const top: Entry = {
  summary: 'Display the running processes of a container',
  load: () => import('./commands/top.ts'),
};
const stats: Entry = {
  summary: 'Display a live stream of container(s) resource usage statistics',
  load: () => import('./commands/stats.ts'),
};
const update: Entry = {
  summary: 'Update configuration of one or more containers',
  load: () => import('./commands/update.ts'),
};
const port: Entry = {
  summary: 'List port mappings of a container, add some or take some back',
  load: () => import('./commands/port.ts'),
};
const diff: Entry = {
  summary: "Inspect changes to files or directories on a container's filesystem",
  load: () => import('./commands/diff.ts'),
};
const cp: Entry = {
  summary: 'Copy files/folders between a container and the local filesystem',
  load: () => import('./commands/cp.ts'),
};
const add: Entry = {
  summary: 'Copy files into a working container, fetch them, unpack archives',
  load: () => import('./commands/add.ts'),
};
const config: Entry = {
  summary: 'Change the config of a working container',
  load: () => import('./commands/config.ts'),
};
const copy: Entry = { summary: 'Copy files into a working container', load: () => import('./commands/copy.ts') };
const from: Entry = { summary: 'Make a working container, or list them', load: () => import('./commands/from.ts') };
const mount: Entry = {
  summary: "Show a working container's files, to be changed",
  load: () => import('./commands/mount.ts'),
};
const umount: Entry = { summary: 'Unmount a working container', load: () => import('./commands/umount.ts') };
const build: Entry = { summary: 'Build an image from a Dockerfile', load: () => import('./commands/build.ts') };
const commit: Entry = {
  summary: "Create a new image from a container's changes",
  load: () => import('./commands/commit.ts'),
};
const exportContainer: Entry = {
  summary: "Export a container's filesystem as a tar archive",
  load: () => import('./commands/export.ts'),
};
const images: Entry = { summary: 'List images', load: () => import('./commands/images.ts') };
const importImage: Entry = {
  summary: 'Import the contents from a tarball to create a filesystem image',
  load: () => import('./commands/import.ts'),
};
const load: Entry = {
  summary: 'Load images from a tar archive, a folder or standard input',
  load: () => import('./commands/load.ts'),
};
const save: Entry = {
  summary: 'Save one or more images to a tar archive',
  load: () => import('./commands/save.ts'),
};
const pull: Entry = { summary: 'Download an image from a registry', load: () => import('./commands/pull.ts') };
const push: Entry = { summary: 'Upload an image to a registry', load: () => import('./commands/push.ts') };
const rmi: Entry = { summary: 'Remove one or more images', load: () => import('./commands/rmi.ts') };
const tag: Entry = {
  summary: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE',
  load: () => import('./commands/tag.ts'),
};
const history: Entry = { summary: 'Show the history of an image', load: () => import('./commands/history.ts') };
const events: Entry = { summary: 'Get real time events from the engine', load: () => import('./commands/events.ts') };
const info: Entry = { summary: 'Display system-wide information', load: () => import('./commands/info.ts') };
const version: Entry = { summary: 'Show the version information', load: () => import('./commands/version.ts') };
const containerPrune: Entry = {
  summary: 'Remove all stopped containers',
  load: () => import('./commands/container-prune.ts'),
};
const imagePrune: Entry = { summary: 'Remove unused images', load: () => import('./commands/image-prune.ts') };

/** A word that only groups commands: `tare container ls`. */
export interface Group {
  summary: string;
  commands: Record<string, Entry>;
}

/** `tare GROUP COMMAND` */
export const groups: Record<string, Group> = {
  builder: {
    summary: 'Manage the build cache',
    commands: {
      du: { summary: 'Show what the build cache holds', load: () => import('./commands/builder-du.ts') },
      prune: { summary: 'Remove build cache', load: () => import('./commands/builder-prune.ts') },
    },
  },
  checkpoint: {
    summary: 'Manage checkpoints',
    commands: {
      create: {
        summary: 'Create a checkpoint from a running container',
        load: () => import('./commands/checkpoint-create.ts'),
      },
      ls: { summary: 'List checkpoints for a container', load: () => import('./commands/checkpoint-ls.ts') },
      rm: { summary: 'Remove a checkpoint', load: () => import('./commands/checkpoint-rm.ts') },
    },
  },
  container: {
    summary: 'Manage containers',
    commands: {
      attach,
      cleanup: {
        summary: 'Record the end of a container (conmon calls it)',
        hidden: true,
        load: () => import('./commands/container-cleanup.ts'),
      },
      commit,
      cp,
      create,
      diff,
      exec,
      export: exportContainer,
      inspect: {
        summary: 'Display detailed information on one or more containers',
        load: () => import('./commands/container-inspect.ts'),
      },
      kill,
      logs,
      ls: ps,
      pause,
      port,
      prune: containerPrune,
      rename,
      restart,
      rm,
      run,
      start,
      stats,
      stop,
      top,
      unpause,
      update,
      wait,
    },
  },
  image: {
    summary: 'Manage images',
    commands: {
      copy: {
        summary: 'Copy an image between registries, archives, folders and this engine',
        load: () => import('./commands/image-copy.ts'),
      },
      delete: { summary: 'Delete an image from a registry', load: () => import('./commands/image-delete.ts') },
      'generate-key-pair': {
        summary: 'Make a pair of keys to sign images with',
        load: () => import('./commands/image-generate-key-pair.ts'),
      },
      history,
      import: importImage,
      inspect: {
        summary: 'Display detailed information on one or more images',
        load: () => import('./commands/image-inspect.ts'),
      },
      load,
      ls: images,
      mount: { summary: "Show an image's files, read-only", load: () => import('./commands/image-mount.ts') },
      prune: imagePrune,
      pull,
      push,
      rm: rmi,
      save,
      sbom: {
        summary: 'List what is installed in an image, as a bill of materials',
        load: () => import('./commands/image-sbom.ts'),
      },
      scan: {
        summary: 'List known vulnerabilities of what is installed in an image',
        load: () => import('./commands/image-scan.ts'),
      },
      sign: { summary: 'Sign an image with a key', load: () => import('./commands/image-sign.ts') },
      sync: {
        summary: 'Copy all images of repositories, folders or a list',
        load: () => import('./commands/image-sync.ts'),
      },
      tag,
      tags: { summary: 'List the tags of a repository', load: () => import('./commands/image-tags.ts') },
      unmount: { summary: 'Unmount an image', load: () => import('./commands/image-unmount.ts') },
      verify: { summary: 'Verify the signatures of an image', load: () => import('./commands/image-verify.ts') },
    },
  },
  manifest: {
    summary: 'Manage image manifests',
    commands: {
      inspect: {
        summary: 'Display an image manifest, or manifest list',
        load: () => import('./commands/manifest-inspect.ts'),
      },
    },
  },
  network: {
    summary: 'Manage networks',
    commands: {
      connect: {
        summary: 'Connect a container to a network',
        load: () => import('./commands/network-connect.ts'),
      },
      create: { summary: 'Create a network', load: () => import('./commands/network-create.ts') },
      disconnect: {
        summary: 'Disconnect a container from a network',
        load: () => import('./commands/network-disconnect.ts'),
      },
      egress: {
        summary: 'Show and change what a container or a network may reach',
        load: () => import('./commands/network-egress.ts'),
      },
      inspect: {
        summary: 'Display detailed information on one or more networks',
        load: () => import('./commands/network-inspect.ts'),
      },
      ls: { summary: 'List networks', load: () => import('./commands/network-ls.ts') },
      prune: { summary: 'Remove all unused networks', load: () => import('./commands/network-prune.ts') },
      rm: { summary: 'Remove one or more networks', load: () => import('./commands/network-rm.ts') },
      why: {
        summary: 'Say who reaches a port of a container, and through which rule',
        load: () => import('./commands/network-why.ts'),
      },
    },
  },
  'scan-db': {
    summary: 'Manage the vulnerability database',
    commands: {
      update: {
        summary: 'Fetch the databases that images are scanned with',
        load: () => import('./commands/scan-db-update.ts'),
      },
    },
  },
  system: {
    summary: 'Manage the engine',
    commands: {
      df: { summary: 'Show disk usage', load: () => import('./commands/system-df.ts') },
      events,
      info,
      prune: { summary: 'Remove unused data', load: () => import('./commands/system-prune.ts') },
      reload: {
        summary: 'Have the daemon read its configuration again',
        load: () => import('./commands/system-reload.ts'),
      },
      verify: {
        summary: 'Check what is stored against its digests and records',
        load: () => import('./commands/system-verify.ts'),
      },
    },
  },
  volume: {
    summary: 'Manage volumes',
    commands: {
      create: { summary: 'Create a volume', load: () => import('./commands/volume-create.ts') },
      export: {
        summary: "Export a volume's contents as a tar archive",
        load: () => import('./commands/volume-export.ts'),
      },
      import: {
        summary: "Import a tar archive's contents into a volume",
        load: () => import('./commands/volume-import.ts'),
      },
      inspect: {
        summary: 'Display detailed information on one or more volumes',
        load: () => import('./commands/volume-inspect.ts'),
      },
      ls: { summary: 'List volumes', load: () => import('./commands/volume-ls.ts') },
      prune: { summary: 'Remove unused local volumes', load: () => import('./commands/volume-prune.ts') },
      rm: { summary: 'Remove one or more volumes', load: () => import('./commands/volume-rm.ts') },
    },
  },
};

/** `tare COMMAND` */
export const commands: Record<string, Entry> = {
  add,
  attach,
  build,
  commit,
  completion: {
    summary: 'Print the completion script of a shell',
    load: () => import('./commands/completion.ts'),
  },
  config,
  copy,
  cp,
  create,
  diff,
  events,
  exec,
  export: exportContainer,
  from,
  history,
  images,
  import: importImage,
  info,
  inspect,
  keeper: { summary: 'Run the keeper', hidden: true, load: () => import('./commands/keeper.ts') },
  kill,
  load,
  login: { summary: 'Authenticate to a registry', load: () => import('./commands/login.ts') },
  logout: { summary: 'Log out from a registry', load: () => import('./commands/logout.ts') },
  logs,
  man: { summary: 'Print the manual page', load: () => import('./commands/man.ts') },
  mount,
  pause,
  port,
  ps,
  pull,
  push,
  rename,
  restart,
  rm,
  rmi,
  run,
  save,
  search: { summary: 'Search a registry for images', load: () => import('./commands/search.ts') },
  serve: {
    summary: 'Answer the Docker Engine API until told to stop',
    load: () => import('./commands/serve.ts'),
  },
  start,
  stats,
  stop,
  tag,
  top,
  umount,
  unmount: { ...umount, hidden: true },
  unpause,
  update,
  version,
  wait,
};

/** Other spellings docker knows, by the full path they stand for. */
export const aliases: Record<string, string> = {
  'container list': 'container ls',
  'container ps': 'container ls',
  'container remove': 'container rm',
  'image list': 'image ls',
  'image remove': 'image rm',
  'image umount': 'image unmount',
  'network list': 'network ls',
  'network remove': 'network rm',
  'volume list': 'volume ls',
  'volume remove': 'volume rm',
};
