@echo off
rem Starts larder serve in production on Windows: scripts\start-production.bat [FLAGS of larder serve]
rem Never run by us: there was no Windows at hand. Secrets come from the environment, from .env or from files (JWT_SECRET_FILE=...).
setlocal
cd /d "%~dp0\.."

call :needs JWT_SECRET "32 random bytes or more" || exit /b 2
call :needs DATABASE_URL "postgres://user:password@host/database, or sqlite://larder.db for a single server" || exit /b 2

set ENV=production
if not defined WORKERS set WORKERS=%NUMBER_OF_PROCESSORS%
if not defined CACHE_MEMORY set CACHE_MEMORY=256mb

if not defined LARDER if exist target\dist\larder.exe set LARDER=target\dist\larder.exe
if not defined LARDER if exist target\release\larder.exe set LARDER=target\release\larder.exe
if not defined LARDER (
    echo start-production: the program is missing: cargo build --profile dist --bin larder 1>&2
    exit /b 2
)
"%LARDER%" serve %*
exit /b %ERRORLEVEL%

rem Whether a variable, or the file that it names, is set in the environment or in .env.
:needs
if defined %1 exit /b 0
if defined %1_FILE exit /b 0
if exist .env findstr /r /c:"^%1=." /c:"^%1_FILE=." .env >nul && exit /b 0
echo start-production: %1 is missing: %~2 1>&2
exit /b 1
