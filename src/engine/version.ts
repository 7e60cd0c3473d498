/** The engine's version; a test holds it equal to package.json's, as it does the command line's, which loads no engine to say it. */
export const version = '0.1.0';
